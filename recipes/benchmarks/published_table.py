"""The published table: is the contrastive loss worth its cost, at the published size?

Seshadri & Knees (arXiv 2309.11623) train SASRec and BERT4Rec without the contrastive loss, with it
on the hidden context and on that of the items, and rank each next item among 1,000 drawn ones. This
does the same on simulated sessions over a million tracks, ranks all tracks beside it, and has the
keep loss for a fourth column. All are trained for the same number of epochs.
"""

import json

import published_size  # first: it loads Keras without the lines that TensorFlow writes

# isort: split
import keras_negrec as kn
from progress import doing
from quiet import keras
from training import Progress

LOSSES = {
    "": {},
    " + contrastive (hidden)": {"negative_loss": "contrastive", "context": "hidden"},
    " + contrastive (item)": {"negative_loss": "contrastive", "context": "item"},
    " + keep": {"negative_loss": "keep"},
}


def main():
    options = published_size.options(__doc__)
    options.add_argument("--model", nargs="+", default=["sasrec", "bert4rec"])
    options.add_argument("--epochs", type=int, default=4)
    args = options.parse_args()
    split, vocabulary, examples = published_size.simulate(args)
    found = {}
    for encoder in args.model:
        for name, loss in LOSSES.items():
            label = f"{encoder}{name}"
            keras.utils.set_random_seed(args.seed)
            model = kn.build_model(
                encoder,
                vocabulary=vocabulary,
                feedback_inputs=True,
                **loss,
                **published_size.settings(args),
            )
            dataset = model.training_dataset(
                split.train, batch_size=args.batch_size, seed=args.seed
            )
            progress = Progress(label)
            with doing(progress.line):
                model.fit(
                    dataset, epochs=args.epochs, shuffle=False, verbose=0, callbacks=[progress]
                )
            with doing(f"{label}: ranking"):
                metrics = kn.evaluation.evaluate_sampled(model, examples, num_negatives=1000)
                metrics |= kn.evaluate(model, examples)
            found[label] = metrics
            shown = [
                f"{name} {metrics[name]:.4f}"
                for kind in ("sampled_hr@", "hr@", "skip_hr@")
                for name in (f"{kind}{k}" for k in (1, 5, 10, 20))
            ]
            print(f"{label}: {', '.join(shown)}", flush=True)
    if args.out is not None:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(found, indent=1), "utf-8")


if __name__ == "__main__":
    main()
