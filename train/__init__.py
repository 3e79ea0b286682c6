"""Training, evaluation and export of the models that rtau runs."""
