from keras_negrec.metrics.feedback_auc import FeedbackAUC as FeedbackAUC
from keras_negrec.metrics.hit_rate import HitRate as HitRate
from keras_negrec.metrics.mrr import MRR as MRR
from keras_negrec.metrics.ndcg import NDCG as NDCG
