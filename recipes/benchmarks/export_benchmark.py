"""Every form that a model can be exported to, in one table: does it work, and does it agree?

For each form: whether it works, or why not; its size on the disk; the median time from a history to
ten item ids, one history at a time; and how many of the ten are those of the Keras model. Items of
the history are left out. The forms take turns, history by history, so that all of them meet the
same noise of the machine.

Without `--model` a small SASRec with the keep loss is trained. Without `--data` sessions are
simulated; with it they are those of KuaiRand-Pure, as `recipes/kuairand.py` reads them.

SavedModels take external ids, strings or integers, and leave out what was seen themselves. The
other forms take internal ids and give scores of all items, among which the ten are then found in
NumPy. OpenVINO and LiteRT hold the model for one history of full length, without a vocabulary:
LiteRT has no string lookup. Sizes are without `assets.extra`, which serving does not read.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

sys.path.append(str(Path(__file__).parents[1]))  # the recipes
import quiet as quiet  # first: it loads Keras without the lines that TensorFlow writes

# isort: split

import keras_negrec as kn
import kuairand
from keras_negrec.backend.keras_private import flatten_layers
from keras_negrec.evaluation.top_columns import top_columns
from keras_negrec.layers.in_fewer_passes import gelu
from progress import doing, no_standard_error, say
from quickstart import simulate
from quiet import keras, tf

K, WARM_UP = 10, 10
Ask = Callable[[dict], np.ndarray]  # from the inputs of one history to the ten best ids


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--model", type=Path, help="a .keras file or a preset; default: trained")
    options.add_argument("--data", type=Path, help="KuaiRand-Pure; default: simulated sessions")
    options.add_argument("--sessions", type=int, default=4000, help="simulated (4000)")
    options.add_argument("--epochs", type=int, default=2, help="of the training (2)")
    options.add_argument("--histories", type=int, default=500, help="held-out ones that ask (500)")
    options.add_argument("--out", type=Path, help="write the figures to this JSON file")
    args = options.parse_args()

    split, vocabulary = kuairand.load(args.data) if args.data else simulate(args.sessions, 0)[:2]
    model = load(args.model) if args.model else train(split, vocabulary, args.epochs)
    test = split.test.histories
    rows = np.random.default_rng(0).permutation(len(test))[: args.histories]
    ends = test.lengths[rows]
    histories = test.between(ends - model.max_length, ends, rows)
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(model, histories, Path(folder))
    report(figures, model, len(histories))
    if args.out is not None:
        args.out.write_text(json.dumps(figures, indent=1))


def load(path: Path):
    return kn.from_preset(path) if path.is_dir() else keras.saving.load_model(path)


def train(split, vocabulary, epochs: int):
    keras.utils.set_random_seed(0)
    model = kn.build_model(
        "sasrec", vocabulary=vocabulary, negative_loss="keep", feedback_inputs=True, dropout=0.1
    )
    with doing("training"):
        model.fit(
            model.training_dataset(split.train, batch_size=128),
            epochs=epochs,
            shuffle=False,
            verbose=0,
        )
        metrics = kn.evaluate(model, split.test)
    say(f"trained for {epochs} epochs: NDCG@10 {metrics['ndcg@10']:.4f} on held-out histories")
    return model


def measure(model, histories, folder: Path) -> list[dict]:
    """One dict a form; the forms that work have answered every history."""
    found: list[dict] = []
    asking: dict[str, Ask] = {}
    inputs = [histories.take([row]).padded(model.max_length) for row in range(len(histories))]
    for number, (name, make) in enumerate(FORMS.items()):
        figures = {"form": name}
        with doing(f"exporting: {name}"), no_standard_error():
            try:
                path, ask = make(model, folder / str(number))
                figures["bytes"] = size_of(path)
                ask(inputs[0])
                asking[name] = ask
            except ImportError as missing:
                figures["failed"] = str(missing)
            except Exception as error:  # whatever a converter raises is what the table reports
                figures["failed"] = f"{type(error).__name__}: {error}".splitlines()[0]
        found.append(figures)
    expected = model.score(histories)
    times: dict[str, list[float]] = {name: [] for name in asking}
    shared: dict[str, list[float]] = {name: [] for name in asking}
    with doing("asking"):
        for call, one in enumerate([*inputs[:WARM_UP], *inputs]):
            for name, ask in asking.items():
                started = time.perf_counter()
                ids = ask(one)
                seconds = time.perf_counter() - started
                if call >= WARM_UP:
                    best = best_unseen(expected[call - WARM_UP], one)
                    times[name].append(1e3 * seconds)
                    shared[name].append(len(np.intersect1d(ids, best)) * K / len(best))
    for figures in found:
        if name_times := times.get(figures["form"]):
            figures["p50_ms"] = float(np.median(name_times))
            of_all = np.array(shared[figures["form"]])
            figures["agree_of_ten"] = float(of_all.mean())
            figures["all_ten_agree"] = float((of_all == K).mean())
    return found


def best_unseen(scores: np.ndarray, inputs: dict) -> np.ndarray:
    """The ids of the ten best items that are not in the history."""
    scores = scores.copy()
    seen = inputs["item_ids"][0]
    scores[seen[seen > 0] - 1] = -np.inf
    return top_columns(scores, K) + 1


def need(package: str, install: str | None = None) -> None:
    if importlib.util.find_spec(package) is None:
        raise ImportError(f"pip install {install or package}")


def in_keras(model, folder: Path) -> tuple[Path, Ask]:
    folder.mkdir()
    model.clone().save(folder / "model.keras")  # without the optimizer's state
    serving, weights = model.serving_model, model.column_weights()
    table = keras.ops.convert_to_numpy(model.item_vectors())
    predict = tf.function(serving) if keras.config.backend() == "tensorflow" else serving

    def ask(inputs):
        given = {name: keras.ops.convert_to_tensor(inputs[name]) for name in serving.input}
        vectors = keras.ops.convert_to_numpy(predict(given)) * weights
        return best_unseen((vectors @ table.T)[0], inputs)

    return folder, ask


def saved_model(item_dtype: str, quantize: bool = False):
    def make(model, folder: Path) -> tuple[Path, Ask]:
        if quantize:
            model = model.clone()
            model.quantize("int8")
        version = kn.export(model, folder, k=K, item_dtype=item_dtype)
        serve = tf.saved_model.load(str(version)).signatures["serving_default"]
        names = serve.structured_input_signature[1]
        vocabulary = model.vocabulary

        def ask(inputs):
            is_event = inputs["item_ids"] > 0
            given = {name: tf.constant(inputs[name][is_event][None]) for name in names}
            items = vocabulary.decode(inputs["item_ids"][is_event])[None]
            answer = serve(**given | {"item_ids": tf.constant(items)})["item_ids"][0].numpy()
            return vocabulary.encode(
                [item.decode() for item in answer] if vocabulary.is_string else answer
            )

        return version, ask

    return make


def onnx(model, folder: Path) -> tuple[Path, Ask]:
    need("tf2onnx", "'keras-negrec[onnx]'")
    need("onnxruntime")
    import onnxruntime

    path = kn.serving.export_onnx(model, folder / "model.onnx")
    session = onnxruntime.InferenceSession(str(path))
    names = [each.name for each in session.get_inputs()]

    def ask(inputs):
        [scores] = session.run(["scores"], {name: inputs[name] for name in names})
        return best_unseen(scores[0], inputs)

    return folder, ask


def core(model) -> keras.Model:
    """From one history of full length, internal ids, to the scores of all items."""
    inputs = {
        name: keras.Input(batch_shape=(1, model.max_length), dtype=tensor.dtype, name=name)
        for name, tensor in model.serving_model.input.items()
    }
    for layer in flatten_layers(model):  # converters know the gelu of Keras, as one operation
        if getattr(layer, "activation", None) is gelu:
            layer.activation = keras.activations.gelu
    table = keras.ops.convert_to_numpy(model.item_vectors()) * model.column_weights()
    vectors = keras.ops.cast(model.serving_model(inputs), "float32")
    return keras.Model(inputs, keras.ops.matmul(vectors, table.T.astype("float32")))


def openvino(model, folder: Path) -> tuple[Path, Ask]:
    need("openvino")
    import openvino as ov

    folder.mkdir()
    core(model.clone()).export(str(folder / "model.xml"), format="openvino", verbose=False)
    compiled = ov.compile_model(folder / "model.xml")
    names = list(model.serving_model.input)

    def ask(inputs):
        scores = compiled({name: inputs[name] for name in names})[0]
        return best_unseen(scores[0], inputs)

    return folder, ask


def litert(model, folder: Path) -> tuple[Path, Ask]:
    folder.mkdir()
    path = folder / "model.tflite"
    core(model.clone()).export(str(path), format="litert", verbose=False)
    if importlib.util.find_spec("ai_edge_litert"):
        from ai_edge_litert.interpreter import Interpreter
    else:  # TensorFlow still has the interpreter of before
        Interpreter = tf.lite.Interpreter  # noqa: N806
    run = Interpreter(model_path=str(path)).get_signature_runner()
    names = list(model.serving_model.input)

    def ask(inputs):
        [scores] = run(**{name: inputs[name] for name in names}).values()
        return best_unseen(scores[0], inputs)

    return folder, ask


FORMS = {
    "Keras": in_keras,
    "SavedModel": saved_model("float32"),
    "SavedModel, float16 table": saved_model("float16"),
    "SavedModel, int8 table": saved_model("int8"),
    'quantize("int8"), SavedModel': saved_model("float32", quantize=True),
    "ONNX, onnxruntime": onnx,
    "OpenVINO (ids, no vocabulary)": openvino,
    "LiteRT (ids, no vocabulary)": litert,
}


def size_of(path: Path) -> int:
    """Bytes of what serves: `assets.extra` is for others than the server."""
    files = [file for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files if "assets.extra" not in file.parts)


def report(found: list[dict], model, num_histories: int) -> None:
    table = Table(title=f"{model.name}: {model.num_items:,} items, {num_histories} histories")
    table.add_column("form", no_wrap=True)
    table.add_column("works", overflow="fold", max_width=24)
    for column in ("MiB", "p50 ms", f"of {K} agree", "all agree"):
        table.add_column(column, justify="right")
    for one in found:
        failed = one.get("failed")
        figures = ["", "", "", ""]
        if not failed:
            figures = [
                f"{one['bytes'] / 2**20:.2f}",
                f"{one['p50_ms']:.2f}",
                f"{one['agree_of_ten']:.3f}",
                f"{one['all_ten_agree']:.1%}",
            ]
        table.add_row(one["form"], failed or "yes", *figures)
    Console(width=98).print(table)


if __name__ == "__main__":
    main()
