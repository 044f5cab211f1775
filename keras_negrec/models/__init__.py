from keras_negrec.models.bert4rec import BERT4Rec as BERT4Rec
from keras_negrec.models.build_model import build_model as build_model
from keras_negrec.models.item_cooccurrence import ItemCooccurrence as ItemCooccurrence
from keras_negrec.models.matrix_factorization import MatrixFactorization as MatrixFactorization
from keras_negrec.models.popularity import Popularity as Popularity
from keras_negrec.models.sasrec import SASRec as SASRec
from keras_negrec.models.session_recommender import SessionRecommender as SessionRecommender
