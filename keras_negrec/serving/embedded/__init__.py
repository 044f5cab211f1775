"""A server that answers what TF Serving answers, in one process of plain TensorFlow."""
