"""Published model trees on the real Hub: which repositories they are of, and what recovery finds of them."""
