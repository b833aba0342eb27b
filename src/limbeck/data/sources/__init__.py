"""Where images come from: one file per family of data sets."""
