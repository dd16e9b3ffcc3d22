"""What the Hub really holds, in miniature: who is in it, how each model is made, and the folders it is laid out in."""
