"""The whole job on built-in data: simulate, train, evaluate, export, recommend.

Listening sessions are simulated, so the truth is known: the oracle at the top of the table is
the best ranking that anyone could reach, popularity at the bottom the least one should.
"""

from pathlib import Path

import experiment
from keras_negrec import data


def main():
    options = experiment.parser(
        __doc__,
        model=["sasrec", "bert4rec"],
        batch_size=32,
        epochs=10,
        max_length=32,
        dropout=0.1,
        out=Path("saved_models/quickstart"),
    )
    options.add_argument("--sessions", type=int, default=8000, help="how many are simulated")
    args = options.parse_args()

    simulation = data.simulate_sessions(num_sessions=args.sessions, seed=args.seed[0])
    vocabulary = data.Vocabulary.from_items(simulation.events["item"])
    sessions = data.Sessions.from_events(simulation.events, vocabulary)
    split = data.leave_one_out(sessions)
    experiment.run(args, split, vocabulary, top={"oracle": simulation.oracle(vocabulary)})


if __name__ == "__main__":
    main()
