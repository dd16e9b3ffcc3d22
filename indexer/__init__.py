"""From fingerprints to clusters: embeddings, nearest neighbours, tested relatedness, connected components."""
