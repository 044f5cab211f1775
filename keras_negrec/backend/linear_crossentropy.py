"""Cross-entropy of a softmax over the products with a table."""

from __future__ import annotations

import functools

import keras
import tensorflow as tf
from keras import ops

_BACKEND = keras.config.backend()
if _BACKEND == "jax":
    import jax
    from jax import numpy as jnp
elif _BACKEND == "torch":
    import torch
    from torch.utils.checkpoint import checkpoint

_CHUNK_LOGITS = 2**21  # 8 MiB of float32, which stays in the cache of a processor
_MIN_CHUNK_ROWS = 64


def linear_crossentropy(vectors, table, classes, bias=None):
    """`-log(softmax(vectors @ table.T + bias)[class])` of each row, in float32.

    The logits of all rows never exist at once, forwards or backwards: they are made anew, a few
    rows at a time, which takes less time than to write and read them, and rows without a class
    take none at all.

    Args:
        vectors: float tensor of shape `(num_rows, dim)`.
        table: float tensor of shape `(num_classes, dim)`.
        classes: int32 tensor of shape `(num_rows,)`; -1 where there is none: the loss is 0 there.
        bias: optional float32 tensor of shape `(num_classes,)`. It gets no gradient.

    Returns:
        float32 tensor of shape `(num_rows,)`.
    """
    if bias is None:
        bias = ops.zeros((table.shape[0],), dtype="float32")
    vectors, table, classes, bias = map(ops.convert_to_tensor, (vectors, table, classes, bias))
    size = max(_CHUNK_LOGITS // table.shape[0], _MIN_CHUNK_ROWS)
    if _BACKEND == "tensorflow":
        return _on_tensorflow(vectors, table, classes, bias, size)
    return (_on_jax if _BACKEND == "jax" else _on_torch)(vectors, table, classes, bias, size)


def _losses(table, bias, vectors, classes):
    """The formula as it stands."""
    logits = ops.cast(ops.matmul(vectors, ops.transpose(table)), "float32") + bias
    target = ops.take_along_axis(logits, ops.expand_dims(ops.maximum(classes, 0), -1), axis=-1)
    loss = ops.logsumexp(logits, axis=-1) - ops.squeeze(target, -1)
    return ops.where(classes >= 0, loss, 0.0)


def _on_jax(vectors, table, classes, bias, size):
    num_rows, bias = len(classes), jax.lax.stop_gradient(bias)
    size = min(size, max(num_rows, 1))
    num_chunks = max(-(-num_rows // size), 1)
    # Rows that have a class come first, and chunks without any are passed over.
    order = jnp.argsort(classes < 0, stable=True)
    place_in_order = jnp.argsort(order)
    padding = num_chunks * size - num_rows
    vectors = jnp.pad(vectors[order], ((0, padding), (0, 0)))
    classes = jnp.pad(classes[order], (0, padding), constant_values=-1)

    @jax.checkpoint
    def losses(chunk):
        return jax.lax.cond(
            jnp.any(chunk[1] >= 0),
            functools.partial(_losses, table, bias),
            lambda _, classes: jnp.zeros(classes.shape, "float32"),
            *chunk,
        )

    chunks = vectors.reshape(num_chunks, size, vectors.shape[1]), classes.reshape(num_chunks, size)
    return jax.lax.map(losses, chunks).reshape(-1)[place_in_order]


def _on_torch(vectors, table, classes, bias, size):
    bias = bias.detach()
    used = torch.nonzero(classes >= 0)[:, 0]
    parts = [
        checkpoint(_losses, table, bias, vectors[rows], classes[rows], use_reentrant=False)
        for rows in used.split(size)
    ]
    losses = torch.zeros(classes.shape, dtype=torch.float32, device=vectors.device)
    return losses.index_put((used,), torch.cat(parts)) if parts else losses


@tf.custom_gradient
def _on_tensorflow(vectors, table, classes, bias, size):
    num_rows, num_classes = tf.shape(vectors)[0], table.shape[0]
    size = tf.minimum(size, num_rows)
    # Rows that have a class come first, and the loops stop after the last of them.
    order = tf.argsort(tf.cast(classes < 0, tf.int32), stable=True)
    num_used = tf.math.count_nonzero(classes >= 0, dtype=tf.int32)
    num_chunks = tf.maximum(-(-num_used // tf.maximum(size, 1)), 1)
    place_in_order = tf.argsort(order)
    # The last chunk is filled up with a row past all others, which is a vector of zeros.
    order = tf.concat([order, tf.fill([size], num_rows)], axis=0)
    padded_vectors = tf.pad(vectors, [[0, 1], [0, 0]])
    padded_classes = tf.pad(classes, [[0, 1]], constant_values=-1)

    def logits_of(chunk):
        rows = tf.slice(order, [chunk * size], [size])
        some = tf.gather(padded_vectors, rows)
        logits = tf.cast(tf.matmul(some, table, transpose_b=True), tf.float32) + bias
        return rows, some, logits

    def add_losses(chunk, losses):
        rows, _, logits = logits_of(chunk)
        probabilities = tf.nn.softmax(logits)
        # log(sum(exp(logits))), off the softmax, which is several times faster
        log_total = tf.reduce_max(logits, -1) - tf.math.log(tf.reduce_max(probabilities, -1))
        target = tf.gather(logits, tf.maximum(tf.gather(padded_classes, rows), 0), batch_dims=1)
        return chunk + 1, losses.write(chunk, log_total - target)

    _, losses = tf.while_loop(
        lambda chunk, losses: chunk < num_chunks,
        add_losses,
        [0, tf.TensorArray(tf.float32, num_chunks, element_shape=[None])],
        parallel_iterations=1,
    )
    losses = tf.concat([losses.concat(), tf.zeros([num_rows])], axis=0)
    losses = tf.where(classes >= 0, tf.gather(losses, place_in_order), 0.0)

    def gradient(upstream):
        upstream = tf.where(classes >= 0, upstream, 0.0)
        padded_upstream = tf.pad(upstream, [[0, 1]])
        target_classes = tf.maximum(classes, 0)

        def add_gradients(chunk, of_vectors, of_table):
            rows, some, logits = logits_of(chunk)
            probabilities = tf.nn.softmax(logits) * tf.gather(padded_upstream, rows)[:, tf.newaxis]
            probabilities = tf.cast(probabilities, some.dtype)
            of_table += tf.cast(tf.matmul(probabilities, some, transpose_a=True), tf.float32)
            return chunk + 1, of_vectors.write(chunk, tf.matmul(probabilities, table)), of_table

        _, of_vectors, of_table = tf.while_loop(
            lambda chunk, of_vectors, of_table: chunk < num_chunks,
            add_gradients,
            [
                0,
                tf.TensorArray(vectors.dtype, num_chunks, element_shape=[None, vectors.shape[1]]),
                tf.zeros(tf.shape(table)),
            ],
            parallel_iterations=1,
        )
        of_vectors = tf.concat([of_vectors.concat(), tf.zeros_like(vectors)], axis=0)
        of_vectors = tf.gather(of_vectors, place_in_order)
        # The rest of softmax(logits) - one_hot(class), whose product with the table is a row of it.
        scale = tf.cast(upstream, vectors.dtype)[:, tf.newaxis]
        of_vectors = tf.where((classes >= 0)[:, tf.newaxis], of_vectors, 0)
        of_vectors -= scale * tf.gather(table, target_classes)
        of_target = tf.math.unsorted_segment_sum(
            tf.cast(scale * vectors, tf.float32), target_classes, num_classes
        )
        return of_vectors, tf.cast(of_table - of_target, table.dtype), None, None, None

    return losses, gradient
