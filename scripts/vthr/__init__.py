"""The paper's VTHR in miniature: what is in it, how its roots are pre-trained, how its trees are grown."""
