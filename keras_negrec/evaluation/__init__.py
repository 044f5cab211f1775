from keras_negrec.evaluation.evaluate import evaluate as evaluate
from keras_negrec.evaluation.rank_targets import Scorer as Scorer
from keras_negrec.evaluation.rank_targets import rank_targets as rank_targets
