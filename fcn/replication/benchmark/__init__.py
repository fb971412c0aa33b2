"""The nets timed next to what people would use instead: ``python -m fcn benchmark``."""
