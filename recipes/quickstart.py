"""The whole job on built-in data: simulate, train, evaluate, export, recommend.

One encoder learns from the plays alone, and once more from the skips too. Listening sessions are
simulated, so the truth is known. The oracle at the top of the table knows the mood of each session:
nobody can find more of what is kept next. The history oracle sees what a model sees: it is the best
that a model could do. Popularity, at the bottom, is the least that one should.
"""

from pathlib import Path

import experiment
from keras_negrec import data
from progress import doing

ORACLES = ("oracle", "history oracle")


def simulate(num_sessions: int, seed: int) -> tuple[data.Split, data.Vocabulary, dict]:
    with doing("simulating sessions"):
        simulation = data.simulate_sessions(num_sessions=num_sessions, seed=seed)
        vocabulary = data.Vocabulary.from_items(simulation.events["item"])
        sessions = data.Sessions.from_events(simulation.events, vocabulary)
        oracles = simulation.oracle(vocabulary), simulation.history_oracle(vocabulary)
        return data.leave_one_out(sessions), vocabulary, dict(zip(ORACLES, oracles, strict=True))


def main():
    options = experiment.parser(
        __doc__,
        keep_weight=["chosen"],
        batch_size=32,
        epochs=10,
        max_length=32,
        dropout=0.1,
        out=Path("saved_models/quickstart"),
    )
    options.add_argument("--sessions", type=int, default=8000, help="simulated (8000)")
    args = experiment.parse(options, scorers=ORACLES)
    split, vocabulary, oracles = simulate(args.sessions, args.seed[0])
    experiment.run(args, split, vocabulary, scorers=oracles)


if __name__ == "__main__":
    main()
