"""Which rows of an unlabelled file to label next, and the files in which they are labelled."""
