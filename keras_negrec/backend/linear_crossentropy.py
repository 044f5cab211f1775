"""Cross-entropy of a softmax over the products with a table."""

import functools

import keras
import tensorflow as tf
from keras import ops

from keras_negrec.backend.custom_gradient import custom_gradient

_BACKEND = keras.config.backend()
if _BACKEND == "jax":
    import jax

    from keras_negrec.backend.linear_crossentropy_on_jax import linear_crossentropy_on_jax
elif _BACKEND == "torch":
    import torch

    from keras_negrec.backend.linear_crossentropy_on_torch import LinearCrossentropy

_CHUNK_LOGITS = 2**21  # 8 MiB of float32, which stays in the cache of a processor
_GPU_CHUNK_LOGITS = 2**26  # 256 MiB, in few and large kernels
_MIN_CHUNK_ROWS = 64


def linear_crossentropy(vectors, table, classes, bias=None):
    """`-log(softmax(vectors @ table.T + bias)[class])` of each row, in float32.

    The logits of a few rows exist at a time, forwards or backwards, and rows without a class take
    none at all. The gradients of the sum of all losses are made along with them, while the logits
    of a chunk are at hand. As a loss is a mean over targets, they are then right but for a factor;
    if the rows turn out to have weights that differ, the table's is made anew.

    Args:
        vectors: float tensor of shape `(num_rows, dim)`.
        table: float tensor of shape `(num_classes, dim)`.
        classes: int32 tensor of shape `(num_rows,)`; -1 where there is none: the loss is 0 there.
        bias: optional float32 tensor of shape `(num_classes,)`. It gets no gradient.

    Returns:
        float32 tensor of shape `(num_rows,)`.
    """
    vectors, table, classes = map(ops.convert_to_tensor, (vectors, table, classes))
    bias = None if bias is None else ops.stop_gradient(ops.convert_to_tensor(bias))
    size = max(_chunk_logits() // table.shape[0], _MIN_CHUNK_ROWS)
    if _BACKEND == "jax":
        return linear_crossentropy_on_jax(vectors, table, classes, bias, size)
    on_backend = _on_tensorflow if _BACKEND == "tensorflow" else _on_torch
    return on_backend(vectors, table, classes, bias, size)


def _chunk_logits() -> int:
    """How many logits exist at once."""
    if _BACKEND == "tensorflow":
        has_gpu = bool(tf.config.list_physical_devices("GPU"))
    else:
        has_gpu = jax.default_backend() != "cpu" if _BACKEND == "jax" else torch.cuda.is_available()
    return _GPU_CHUNK_LOGITS if has_gpu else _CHUNK_LOGITS


def _on_torch(vectors, table, classes, bias, size):
    used = torch.nonzero(classes >= 0)[:, 0]
    losses = torch.zeros(classes.shape, dtype=torch.float32, device=vectors.device)
    own = classes[used].long()
    found = LinearCrossentropy.apply(vectors[used], table, own, bias, size)
    return losses.index_put((used,), found)


def _on_tensorflow(vectors, table, classes, bias, size):
    used, target_classes = classes >= 0, tf.maximum(classes, 0)

    @custom_gradient
    def losses_of(vectors, table):
        chunked = functools.partial(_chunked_on_tensorflow, vectors, table, classes, bias, size)
        losses, expected_rows, expected_columns = chunked(tf.cast(used, vectors.dtype))

        def gradient(upstream):
            upstream = tf.where(used, upstream, 0.0)
            weights = tf.cast(upstream, vectors.dtype)
            most = tf.reduce_max(upstream)
            of_expected = tf.cond(
                tf.reduce_min(tf.where(used, upstream, most)) == most,
                lambda: expected_columns * most,
                lambda: chunked(weights)[2],
            )
            # softmax(logits) - one_hot(class), times the table and times the vectors.
            weights = weights[:, tf.newaxis]
            of_vectors = weights * (expected_rows - tf.gather(table, target_classes))
            of_target = tf.math.unsorted_segment_sum(
                tf.cast(weights * vectors, tf.float32), target_classes, table.shape[0]
            )
            return of_vectors, tf.cast(of_expected - of_target, table.dtype)

        return losses, gradient

    return losses_of(vectors, table)


def _chunked_on_tensorflow(vectors, table, classes, bias, size, weights):
    """Losses, softmax(logits) @ table, and its transpose @ (weights * vectors), in chunks of rows.

    The first two are of the rows that have a class, and 0 for others.
    """
    num_rows = tf.shape(vectors)[0]
    size = tf.minimum(size, num_rows)
    # Rows that have a class come first, and the loop stops after the last of them.
    order = tf.argsort(tf.cast(classes < 0, tf.int32), stable=True)
    num_used = tf.math.count_nonzero(classes >= 0, dtype=tf.int32)
    num_chunks = tf.maximum(-(-num_used // tf.maximum(size, 1)), 1)
    place_in_order = tf.argsort(order)
    # The last chunk is filled up with a row past all others, which is a vector of zeros.
    order = tf.concat([order, tf.fill([size], num_rows)], axis=0)
    padded_vectors = tf.pad(vectors, [[0, 1], [0, 0]])
    weighted_vectors = padded_vectors * tf.pad(weights, [[0, 1]])[:, tf.newaxis]
    padded_classes = tf.pad(tf.maximum(classes, 0), [[0, 1]])

    def add_chunk(chunk, losses, expected_rows, expected_columns):
        rows = tf.slice(order, [chunk * size], [size])
        logits = tf.matmul(tf.gather(padded_vectors, rows), table, transpose_b=True)
        logits = tf.cast(logits, tf.float32)
        if bias is not None:
            logits += bias
        target = tf.gather(logits, tf.gather(padded_classes, rows), batch_dims=1)
        top = tf.reduce_max(logits, axis=-1)
        with tf.control_dependencies([target, top]):  # then the softmax takes the logits' memory
            probabilities = tf.nn.softmax(logits)
        # log(sum(exp(logits))), off the softmax, which is several times faster
        log_total = top - tf.math.log(tf.reduce_max(probabilities, axis=-1))
        probabilities = tf.cast(probabilities, vectors.dtype)
        columns = tf.matmul(probabilities, tf.gather(weighted_vectors, rows), transpose_a=True)
        return (
            chunk + 1,
            losses.write(chunk, log_total - target),
            expected_rows.write(chunk, tf.matmul(probabilities, table)),
            expected_columns + tf.cast(columns, tf.float32),
        )

    _, losses, expected_rows, expected_columns = tf.while_loop(
        lambda chunk, *_: chunk < num_chunks,
        add_chunk,
        [
            0,
            tf.TensorArray(tf.float32, num_chunks, element_shape=[None]),
            tf.TensorArray(vectors.dtype, num_chunks, element_shape=[None, vectors.shape[1]]),
            tf.zeros(tf.shape(table)),
        ],
        parallel_iterations=1,
    )
    losses = tf.gather(tf.concat([losses.concat(), tf.zeros([num_rows])], axis=0), place_in_order)
    expected_rows = tf.concat([expected_rows.concat(), tf.zeros_like(vectors)], axis=0)
    expected_rows = tf.gather(expected_rows, place_in_order)
    used = classes >= 0
    return (
        tf.where(used, losses, 0.0),
        tf.where(used[:, tf.newaxis], expected_rows, 0),
        expected_columns,
    )
