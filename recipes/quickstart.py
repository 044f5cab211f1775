"""The whole job on built-in data: simulate, train, evaluate, export, recommend.

Listening sessions are simulated, so the truth is known: the oracle at the top of the table is
the best ranking that anyone could reach, popularity at the bottom the least one should.
"""

from pathlib import Path

import experiment
from keras_negrec import data
from progress import doing


def simulate(num_sessions: int, seed: int) -> tuple[data.Split, data.Vocabulary, data.Oracle]:
    with doing("simulating sessions"):
        simulation = data.simulate_sessions(num_sessions=num_sessions, seed=seed)
        vocabulary = data.Vocabulary.from_items(simulation.events["item"])
        sessions = data.Sessions.from_events(simulation.events, vocabulary)
        return data.leave_one_out(sessions), vocabulary, simulation.oracle(vocabulary)


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
    options.add_argument("--sessions", type=int, default=8000, help="simulated (8000)")
    args = experiment.parse(options, scorers=("oracle",))
    split, vocabulary, oracle = simulate(args.sessions, args.seed[0])
    experiment.run(args, split, vocabulary, scorers={"oracle": oracle})


if __name__ == "__main__":
    main()
