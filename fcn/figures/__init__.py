"""Every figure of the book: one module a topic, one look for all (:mod:`fcn.figures.style`)."""
