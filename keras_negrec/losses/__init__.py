from keras_negrec.losses.bayesian_personalized_ranking import (
    BayesianPersonalizedRanking as BayesianPersonalizedRanking,
)
from keras_negrec.losses.generalized_binary_crossentropy import (
    GeneralizedBinaryCrossentropy as GeneralizedBinaryCrossentropy,
)
from keras_negrec.losses.identity import Identity as Identity
from keras_negrec.losses.negative_feedback_contrastive import (
    NegativeFeedbackContrastive as NegativeFeedbackContrastive,
)
from keras_negrec.losses.not_to_recommend import NotToRecommend as NotToRecommend
