from keras_negrec.data.check_events import check_events as check_events
from keras_negrec.data.examples import Examples as Examples
from keras_negrec.data.leave_one_out import leave_one_out as leave_one_out
from keras_negrec.data.sessions import Sessions as Sessions
from keras_negrec.data.split import Split as Split
from keras_negrec.data.split_at import split_at as split_at
from keras_negrec.data.vocabulary import Vocabulary as Vocabulary
