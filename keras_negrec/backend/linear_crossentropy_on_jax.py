"""Cross-entropy of a softmax over the products with a table, in JAX."""

import functools

import jax
from jax import numpy as jnp


@functools.partial(jax.custom_vjp, nondiff_argnums=(4,))
def linear_crossentropy_on_jax(vectors, table, classes, bias, size):
    """What `linear_crossentropy` gives, `size` rows at a time."""
    return _chunked(vectors, table, classes, bias, size, jnp.zeros(classes.shape))[0]


def _forwards(vectors, table, classes, bias, size):
    losses, of_vectors, of_table = _chunked(vectors, table, classes, bias, size, classes >= 0)
    return losses, (vectors, table, classes, bias, of_vectors, of_table)


def _backwards(size, residuals, upstream):
    vectors, table, classes, bias, of_vectors, of_table = residuals
    used = classes >= 0
    weights = jnp.where(used, upstream, 0)
    most = jnp.max(weights, initial=0)
    of_table = jax.lax.cond(
        jnp.all(jnp.where(used, weights, most) == most),
        lambda: of_table * most,
        lambda: _chunked(vectors, table, classes, bias, size, weights)[2],
    )
    of_vectors = weights.astype(vectors.dtype)[:, jnp.newaxis] * of_vectors
    return of_vectors, of_table.astype(table.dtype), None, None


linear_crossentropy_on_jax.defvjp(_forwards, _backwards)


def _chunked(vectors, table, classes, bias, size, weights):
    """Losses; softmax(logits) - one_hot(class) @ table; its transpose @ (weights * vectors).

    Rows without a class have a loss of 0, and the second is of no use there.
    """
    num_rows = len(classes)
    size = min(size, max(num_rows, 1))
    num_chunks = max(-(-num_rows // size), 1)
    # Rows that have a class come first, and chunks without any are passed over.
    order = jnp.argsort(classes < 0, stable=True)
    place_in_order = jnp.argsort(order)
    padding = num_chunks * size - num_rows

    def in_chunks(values, fill=0):
        widths = ((0, padding), *((0, 0),) * (values.ndim - 1))
        values = jnp.pad(values[order], widths, constant_values=fill)
        return values.reshape(num_chunks, size, *values.shape[1:])

    def add_chunk(of_table, chunk):
        rows, own, weighted = chunk
        logits = jnp.matmul(rows, table.T).astype("float32")
        log_probabilities = jax.nn.log_softmax(logits if bias is None else logits + bias)
        is_own = jnp.arange(len(table)) == own[:, jnp.newaxis]
        losses = -jnp.sum(jnp.where(is_own, log_probabilities, 0), axis=-1)
        of_logits = (jnp.exp(log_probabilities) - is_own).astype(table.dtype)
        of_table += jnp.matmul(of_logits.T, weighted).astype("float32")
        return of_table, (losses, jnp.matmul(of_logits, table))

    def pass_over(of_table, chunk):
        rows, own, _ = chunk
        return of_table, (jnp.zeros(own.shape, "float32"), jnp.zeros_like(rows))

    def add_if_used(of_table, chunk):
        return jax.lax.cond(jnp.any(chunk[1] >= 0), add_chunk, pass_over, of_table, chunk)

    weighted = weights.astype(vectors.dtype)[:, jnp.newaxis] * vectors
    of_table, (losses, of_vectors) = jax.lax.scan(
        add_if_used,
        jnp.zeros(table.shape, "float32"),
        (in_chunks(vectors), in_chunks(classes, -1), in_chunks(weighted)),
    )
    losses, of_vectors = losses.reshape(-1), of_vectors.reshape(-1, vectors.shape[1])
    return losses[place_in_order], of_vectors[place_in_order], of_table
