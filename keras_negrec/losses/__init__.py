from keras_negrec.losses.negative_feedback_contrastive import (
    NegativeFeedbackContrastive as NegativeFeedbackContrastive,
)
