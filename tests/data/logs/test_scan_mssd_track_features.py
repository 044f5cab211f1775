import pytest
from log_files import mssd_log, mssd_session, problems, values, write

from keras_negrec.data.logs.mssd import scan_mssd
from keras_negrec.data.logs.mssd_track_features import scan_mssd_track_features

FEATURES = (
    "track_id,duration,release_year,acousticness,mode,acoustic_vector_0\n"
    "t_1,180.066,1950,0.458,major,-0.81\n"
    "t_2,236.79,1951,1.2e-05,minor,0.5\n"
)


def test_features_are_numbers(tmp_path, connection):
    write(tmp_path / "tf_0.csv", FEATURES)
    write(tmp_path / "tf_1.csv.gz", FEATURES.replace("t_", "u_"))
    scan = scan_mssd_track_features(tmp_path, connection)
    columns = ("item", "duration", "release_year", "acousticness", "mode", "acoustic_vector_0")
    assert values(scan, *columns, "problem") == [
        ["t_1", 180.066, 1950.0, 0.458, "major", -0.81, None],
        ["t_2", 236.79, 1951.0, 1.2e-05, "minor", 0.5, None],
        ["u_1", 180.066, 1950.0, 0.458, "major", -0.81, None],
        ["u_2", 236.79, 1951.0, 1.2e-05, "minor", 0.5, None],
    ]


def test_they_join_the_events(tmp_path, connection):
    write(tmp_path / "tf_0.csv", FEATURES)
    write(tmp_path / "log_0.csv", mssd_log(*mssd_session("a")))
    features = scan_mssd_track_features(tmp_path, connection).select("item", "duration")
    events = scan_mssd(tmp_path, connection).join(features, "item")
    assert values(events, "position", "duration") == [[1, 180.066], [2, 236.79]]


def test_feature_that_is_no_number(tmp_path, connection):
    path = write(tmp_path / "tf_0.csv", FEATURES.replace("1951", "fifties"))
    scan = scan_mssd_track_features(path, connection)
    assert problems(scan) == ["column `release_year`: expected a number. Received: 'fifties'"]


def test_missing_id(tmp_path, connection):
    path = write(tmp_path / "tf_0.csv", FEATURES.replace("track_id", "id"))
    with pytest.raises(ValueError, match=r"tf_0.csv: column 'track_id' is missing"):
        scan_mssd_track_features(path, connection)
