"""From a cluster's weights to its Model Tree: evidence in one pass, direction, topology, arborescence."""
