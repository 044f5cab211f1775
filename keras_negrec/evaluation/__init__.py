from keras_negrec.evaluation.evaluate import evaluate as evaluate
from keras_negrec.evaluation.evaluate_sampled import evaluate_sampled as evaluate_sampled
from keras_negrec.evaluation.example_metrics import example_metrics as example_metrics
from keras_negrec.evaluation.rank_targets import rank_targets as rank_targets
from keras_negrec.evaluation.ranking_metrics import ranking_metrics as ranking_metrics
from keras_negrec.evaluation.responsiveness import responsiveness as responsiveness
from keras_negrec.evaluation.scorer import Scorer as Scorer
