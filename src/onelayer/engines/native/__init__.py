"""Our own int8 encoder for CPUs, in C; built for the machine when first needed."""
