"""Our own int8 encoder for CPUs: C, built for the machine when first needed."""
