from keras_negrec.layers.append_mask_token import AppendMaskToken as AppendMaskToken
from keras_negrec.layers.convolutional_sequence_embedding import (
    ConvolutionalSequenceEmbedding as ConvolutionalSequenceEmbedding,
)
from keras_negrec.layers.event_dropout import EventDropout as EventDropout
from keras_negrec.layers.feedback_embedding import FeedbackEmbedding as FeedbackEmbedding
from keras_negrec.layers.feedback_similarity import FeedbackSimilarity as FeedbackSimilarity
from keras_negrec.layers.item_embedding import ItemEmbedding as ItemEmbedding
from keras_negrec.layers.keep_logit import KeepLogit as KeepLogit
from keras_negrec.layers.negative_sampler import NegativeSampler as NegativeSampler
from keras_negrec.layers.prediction_head import PredictionHead as PredictionHead
from keras_negrec.layers.sampled_logits import SampledLogits as SampledLogits
from keras_negrec.layers.session_position_embedding import (
    SessionPositionEmbedding as SessionPositionEmbedding,
)
from keras_negrec.layers.take_positions import TakePositions as TakePositions
from keras_negrec.layers.transformer_block import TransformerBlock as TransformerBlock
