from __future__ import annotations

from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from attachtrans.stores.geopackage import read_schema, reading
from attachtrans.stores.layouts.base import LayoutName, Link, Mapping, PhotoTable
from attachtrans.stores.listing import Rows, list_rows
from tests.stores.gpkg import Gpkg

fids = st.integers(-5, 5)
some_pairs = st.lists(st.tuples(fids, fids), max_size=12)


def photo_table(*layers: str, orphans: bool = True, excluded: tuple[str, ...] = ()) -> PhotoTable:
    def link(layer: str) -> Link:
        return Link(
            layer=layer,
            layer_key="fid",
            layer_column="fid",
            photo_column="id",
            mapping=Mapping(table=f"m_{layer}", base_id="base_id", related_id="related_id"),
        )

    return PhotoTable(
        layout=LayoutName.MEDIA,
        table="media",
        key="id",
        data="data",
        links=tuple(map(link, layers)),
        excluded=tuple(map(link, excluded)),
        orphans=orphans,
        reason="",
    )


def rows_of(path: Path, table: PhotoTable) -> Rows:
    with reading(path) as connection:
        return list_rows(connection, read_schema(connection, path), table)


@settings(max_examples=30)
@given(
    st.sets(fids),
    st.dictionaries(fids, st.booleans()),
    some_pairs,
    some_pairs,
    some_pairs,
    st.booleans(),
)
def test_as_a_plain_loop_says(
    tmp_path_factory,
    features: set[int],
    media: dict[int, bool],
    a: list[tuple[int, int]],
    b: list[tuple[int, int]],
    c: list[tuple[int, int]],
    orphans: bool,
) -> None:
    file = Gpkg(tmp_path_factory.mktemp("list") / "x.gpkg")
    for name, pairs in (("a", a), ("b", b), ("c", c)):
        file.layer(name, "", [(fid, None) for fid in features])
        file.table(f"m_{name}", "base_id, related_id", pairs)
    file.table(
        "media",
        "id INTEGER PRIMARY KEY, data BLOB",
        [(key, b"x" if filled else None) for key, filled in media.items()],
    )
    rows = rows_of(file.done(), photo_table("a", "b", orphans=orphans, excluded=("c",)))
    expected = {}
    for key in sorted(media):
        found = [
            (name, fid)
            for name, pairs in (("a", a), ("b", b))
            for fid in sorted(features)
            if (fid, key) in pairs
        ]
        hidden = any(key == related and base in features for base, related in c)
        if media[key] and (found or (orphans and not hidden)):
            expected[key] = found
    assert {key: list(map(tuple, rows.features(i))) for i, key in enumerate(rows.keys)} == expected
    for count in range(len(rows) + 2):
        first = rows.first(count)
        assert list(first.keys) == list(rows.keys)[:count]
        assert [first.features(i) for i in range(len(first))] == [
            rows.features(i) for i in range(min(count, len(rows)))
        ]


def test_big_joins_are_not_quadratic(tmp_path: Path) -> None:
    count = 20_000
    file = Gpkg(tmp_path / "x.gpkg")
    file.sql("BEGIN")
    file.layer("trees", "GlobalID TEXT")
    file.sql(
        f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count}) "
        "INSERT INTO trees SELECT i, NULL, '{' || i || '}' FROM n"
    )
    file.table("shots", "id INTEGER PRIMARY KEY, rel TEXT, data BLOB")
    file.sql("INSERT INTO shots SELECT fid, fid, x'00' FROM trees")
    file.sql("COMMIT")
    link = Link(
        layer="trees", layer_key="fid", layer_column="GlobalID", photo_column="rel", guid=True
    )
    table = PhotoTable(
        layout=LayoutName.ATTACH, table="shots", key="id", data="data", links=(link,), reason=""
    )
    rows = rows_of(file.done(), table)
    assert list(rows.fids) == list(range(1, count + 1))
