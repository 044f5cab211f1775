"""Cross-entropy of a softmax over the products with a table, in PyTorch."""

import torch


class LinearCrossentropy(torch.autograd.Function):
    """Losses of rows that all have a class, `size` rows at a time."""

    @staticmethod
    def forward(ctx, vectors, table, classes, bias, size):
        losses, of_vectors, of_table = _chunked(vectors, table, classes, bias, size, vectors)
        ctx.save_for_backward(vectors, table, classes, bias, of_vectors, of_table)
        ctx.size = size
        return losses

    @staticmethod
    def backward(ctx, upstream):
        vectors, table, classes, bias, of_vectors, of_table = ctx.saved_tensors
        weights = upstream.to(vectors.dtype)[:, None]
        first = upstream[:1]  # none where there are no rows
        if bool((upstream == first).all()):
            of_table = of_table * first.sum()
        else:
            weighted = weights * vectors
            _, _, of_table = _chunked(vectors, table, classes, bias, ctx.size, weighted)
        return weights * of_vectors, of_table.to(table.dtype), None, None, None


def _chunked(vectors, table, classes, bias, size, weighted_vectors):
    """Losses; softmax(logits) - one_hot(class) @ table; its transpose @ weighted_vectors."""
    losses, of_vectors = [], []
    of_table = torch.zeros(table.shape, dtype=torch.float32, device=table.device)
    chunks = (tensor.split(size) for tensor in (vectors, classes[:, None], weighted_vectors))
    for rows, own, weighted in zip(*chunks, strict=True):
        logits = (rows @ table.T).float()
        if bias is not None:
            logits += bias
        log_probabilities = torch.log_softmax(logits, dim=-1)
        losses.append(-log_probabilities.gather(1, own)[:, 0])
        of_logits = log_probabilities.exp_()
        of_logits.scatter_add_(1, own, torch.full_like(losses[-1], -1.0)[:, None])
        of_logits = of_logits.to(table.dtype)
        of_vectors.append(of_logits @ table)
        of_table += of_logits.T @ weighted
    return torch.cat(losses), torch.cat(of_vectors), of_table
