"""Files of control points, each with its pixel origin and its coordinate system."""

from __future__ import annotations

import numpy as np
import pytest
from pyproj import CRS

from attachtrans.errors import CrsError, SourceError
from attachtrans.stores.gcps import read_control_points

UTM = CRS.from_epsg(32633)


@pytest.fixture
def write(tmp_path):
    def file(name, text, encoding="utf-8"):
        path = tmp_path / name
        path.write_text(text, encoding=encoding)
        return path

    return file


def test_a_table_has_points_of_several_photos(write):
    path = write(
        "gcps.csv",
        "#CRS: EPSG:32633\n"
        "name,image,x,y,z,col,row\n"
        "P1,DCIM/a.jpg,431200.5,5820400.25,31.5,100.5,200.25\n"
        "P2,b.jpg,431210,5820410,32,1,2\n"
        "P3,a.jpg,431220,5820420,33,3,4\n",
    )
    found = read_control_points(path)
    assert list(found) == ["a.jpg", "b.jpg"]
    points = found["a.jpg"]
    assert points.names == ("P1", "P3")
    assert points.crs == UTM
    assert points.xyz.T.tolist() == [[431200.5, 5820400.25, 31.5], [431220, 5820420, 33]]
    assert points.pixels.T.tolist() == [[100.5, 200.25], [3, 4]]
    centred = read_control_points(path, centre=True)["a.jpg"]
    assert np.array_equal(centred.pixels, points.pixels + 0.5)


@pytest.mark.parametrize(
    ("head", "line"),
    [
        ("Easting;Northing;Height;Pixel X;Pixel Y", "431200,5;5820400,25;31,5;100,5;200,25"),
        ("E\tN\tElevation\tim_x\tim_y", "431200.5\t5820400.25\t31.5\t100.5\t200.25"),
        ("x y z col row", "431200.5 5820400.25 31.5 100.5 200.25"),
        ("row,col,alt,north,east", "200.25,100.5,31.5,5820400.25,431200.5"),
        ("GCP,U,V,X,Y,H", "P1,100.5,200.25,431200.5,5820400.25,31.5"),
    ],
)
def test_columns_are_found_by_their_usual_names(write, head, line):
    path = write("gcps.txt", f"{head}\n{line}\n", encoding="utf-8-sig")
    points = read_control_points(path, crs=32633)[""]
    assert points.xyz[:, 0].tolist() == [431200.5, 5820400.25, 31.5]
    assert points.pixels[:, 0].tolist() == [100.5, 200.25]


def test_longitudes_are_of_wgs84_unless_told_otherwise(write):
    path = write("gcps.csv", "lat,lon,alt,col,row\n52.5,13.4,40,1,2\n")
    assert read_control_points(path)[""].crs.to_epsg() == 4326
    assert read_control_points(path)[""].xyz[:, 0].tolist() == [13.4, 52.5, 40]
    assert read_control_points(path, crs="EPSG:4258")[""].crs.to_epsg() == 4258


def test_a_projection_may_lie_beside_the_file(write):
    path = write("gcps.csv", "x,y,z,col,row\n431200,5820400,31,1,2\n")
    with pytest.raises(CrsError, match="#CRS"):
        read_control_points(path)
    write("gcps.prj", UTM.to_wkt("WKT1_ESRI"))
    assert read_control_points(path)[""].crs.coordinate_operation == UTM.coordinate_operation


@pytest.mark.parametrize(
    ("first", "code"),
    [
        ("WGS84 UTM 33N", 32633),
        ("WGS84 UTM 19S", 32719),
        ("EPSG:32633", 32633),
        ("WGS84", 4326),
        ("+proj=utm +zone=33 +datum=WGS84 +units=m +no_defs", 32633),
    ],
)
def test_odm_lists_count_from_pixel_centres(write, first, code):
    path = write(
        "gcp_list.txt",
        f"{first}\n"
        "431200.5 5820400.25 31.5 100 200 DJI_0001.JPG P1 extra\n"
        "# a comment\n"
        "431210 5820410 NaN 5 6 DJI_0001.JPG\n",
    )
    points = read_control_points(path)["DJI_0001.JPG"]
    assert points.crs.coordinate_operation == CRS.from_epsg(code).coordinate_operation
    assert points.names == ("P1", "2")
    assert points.pixels.T.tolist() == [[100.5, 200.5], [5.5, 6.5]]
    assert np.isnan(points.xyz[2, 1])
    filled = points.with_heights(lambda xy: xy[0] - 431200)
    assert filled.xyz[2].tolist() == [31.5, 10]


@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize("names", ["sourceX,sourceY", "pixelX,pixelY"])
def test_points_of_qgis_have_rows_upwards_and_no_heights(write, names, sign):
    path = write(
        "photo.jpg.points",
        f"#CRS: {UTM.to_wkt(pretty=False)}\n"
        f"mapX,mapY,{names},enable,dX,dY,residual\n"
        f"431200.5,5820400.25,100.5,{sign * 200.25},1,0,0,0\n"
        f"431210,5820410,3,{sign * 4},0,0,0,0\n",
    )
    points = read_control_points(path)[""]
    assert points.crs == UTM
    assert points.pixels.T.tolist() == [[100.5, 200.25]]
    assert np.isnan(points.xyz[2]).all()


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "", "no control points"),
        ("a.csv", "#CRS: EPSG:32633\nx,y,z,col,row\n", "no control points"),
        ("a.csv", "x,y,z,col\n1,2,3,4\n", "no column for row"),
        ("a.csv", "x,y,z,col,row\n1,2,3,4,five\n", "line 2: 'five' is not a number"),
        ("a.csv", "x,y,z,col,row\n1,2,3\n", "too few"),
        ("a.txt", "EPSG:32633\n1 2 3 4 5\n", "line 2: a control point is"),
        ("a.points", "mapX,mapY,sourceX,sourceY,enable\n1,2,3,-4,1\n1,2,3,4,1\n", "both signs"),
    ],
)
def test_what_is_wrong_is_said(write, name, text, message):
    with pytest.raises(SourceError, match=message):
        read_control_points(write(name, text), crs=32633)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(SourceError, match="cannot be read"):
        read_control_points(tmp_path / "none.csv")
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00\x80" * 20)
    with pytest.raises(SourceError, match="cannot be read"):
        read_control_points(tmp_path / "binary.csv")
