"""Fine-tune BERT on a labelled file: one pretrained encoder, one new fully connected layer."""
