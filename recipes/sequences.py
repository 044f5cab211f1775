"""Plain sequences without feedback: one user a line, `user item item ...` in time order.

Leave one out: the last item of each user is the target, the one before it is for early
stopping. This is the protocol of the S3-Rec benchmark files, but for one thing: once validation
has chosen the number of epochs, the model is trained anew on all events before the test item, as
one would before serving it (`--no-refit` leaves that out).

The defaults were chosen by validation on LastFM.txt, where the order of events says little: no
positions, and events hidden at random. Where order matters, try
`--model-arguments '{"use_position_embedding": true}'`. The table also has `ItemCooccurrence`, alone and together
with each model; what is saved and exported is the model alone.
"""

from pathlib import Path

import experiment
from keras_negrec import data
from progress import doing


def load(path: Path) -> tuple[data.Split, data.Vocabulary]:
    with doing(f"reading {path}"):
        events = data.read_sequences(path)
        vocabulary = data.Vocabulary.from_items(events["item"])
        sessions = data.Sessions.from_events(events, vocabulary)
        return data.leave_one_out(sessions), vocabulary


def main():
    options = experiment.parser(
        __doc__,
        data="the text file",
        feedback_inputs=False,
        num_layers=4,
        dropout=0.5,
        model_arguments={"use_position_embedding": False, "event_dropout": 0.2},
        negative_loss=["none"],
        epochs=200,
        patience=15,
        refit=True,
        cooccurrence_weight=0.2,
        out=Path("saved_models/sequences"),
    )
    args = experiment.parse(options)
    experiment.run(args, *load(args.data))


if __name__ == "__main__":
    main()
