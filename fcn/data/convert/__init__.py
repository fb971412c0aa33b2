"""Convert annotations of labelling tools to the folder that ``fcn fit`` takes."""
