from keras_negrec import data as data
