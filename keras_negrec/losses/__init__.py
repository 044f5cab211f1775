from keras_negrec.losses.bayesian_personalized_ranking import (
    BayesianPersonalizedRanking as BayesianPersonalizedRanking,
)
from keras_negrec.losses.negative_feedback_contrastive import (
    NegativeFeedbackContrastive as NegativeFeedbackContrastive,
)
