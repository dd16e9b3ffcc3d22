"""The paper's experiments again, on the miniature VTHR: measurements, figures, and the document that holds them."""
