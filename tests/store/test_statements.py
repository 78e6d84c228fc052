"""The SQL that is derived from the rows, by value."""

import re
from uuid import uuid4

import msgspec
import pytest

from store.base import Fence
from store.rows import CommentRow, MarkRow, OperationRow, Row
from store.statements import COMMENT, MARK, OPERATION, POST, TABLES, Writing, commit_arguments, commit_statement
from tests.store.samples import Deleted, alarm, batch, comment, mark, post

FENCE = {7: Fence(1, 2, 3), 8: Fence(4, 5, 6)}


@pytest.mark.parametrize("row_type", TABLES)
def test_every_row_type_has_its_table(row_type: type[Row]) -> None:
    assert TABLES[row_type].row_type is row_type
    assert [column.field for column in TABLES[row_type].columns] == list(row_type.__struct_fields__)
    assert {column.field for column in TABLES[row_type].key} == set(row_type.key)


def test_no_row_type_is_forgotten() -> None:
    assert set(TABLES) == set(Row.__subclasses__())


def test_times_are_columns_of_their_own_name() -> None:
    assert OPERATION.selected.endswith("operation.result, operation.at")
    assert "post.published_at" in POST.selected


def test_the_key_of_a_delete_is_in_the_order_of_the_identity() -> None:
    key = tuple(column.field for column in MARK.key)
    assert key == mark(3).key
    assert mark(3).identity() == ("post:7", 3)


def test_batches_of_the_same_tables_have_the_same_statement() -> None:
    one, _ = commit_arguments(batch(uuid4(), FENCE, (7, comment(1)), (8, post(8)), (7, Deleted(alarm("a")))))
    two, _ = commit_arguments(
        batch(uuid4(), FENCE, (7, Deleted(alarm("a"))), (7, post()), *((7, comment(n)) for n in (1, 2)))
    )

    assert one == two
    assert commit_statement(one) == commit_statement(two)


def test_a_statement_takes_as_many_parameters_as_it_is_given() -> None:
    shape, arguments = commit_arguments(
        batch(uuid4(), FENCE, (7, comment(1)), (8, post(8)), (7, Deleted(comment(2))), (7, Deleted(alarm("a"))))
    )

    parameters = {int(number) for number in re.findall(r"\$(\d+)", commit_statement(shape))}

    assert parameters == set(range(1, len(arguments) + 1))


def test_a_batch_becomes_one_array_for_each_column() -> None:
    worker = uuid4()
    shape, arguments = commit_arguments(
        batch(worker, FENCE, (7, mark(1, id=10)), (8, mark(2, id=20)), (8, Deleted(mark(3))), (7, Deleted(mark(4))))
    )

    assert shape == ((MarkRow, Writing.WHOLE), (MarkRow, Writing.GONE))
    assert arguments[:5] == [worker, [7, 8], [1, 4], [2, 5], [3, 6]]
    assert arguments[5:9] == ["{7,8}", ("post:7", "post:7"), "{1,2}", "{10,20}"]
    assert arguments[9:] == ["{8,7}", ("post:7", "post:7"), "{3,4}"]


def test_what_has_no_value_has_none_in_an_array_that_travels_as_text() -> None:
    places = [comment.field for comment in COMMENT.columns]
    _, arguments = commit_arguments(batch(uuid4(), FENCE, (7, comment(2, parent_id=1, state="held")),
                                          (8, comment(3, state="held"))))  # fmt: skip

    assert arguments[6 + places.index("parent_id")] == "{1,null}"


def test_an_operation_is_inserted_and_never_replaced() -> None:
    assert "ON CONFLICT" not in commit_statement(((OperationRow, Writing.WHOLE),))
    assert "ON CONFLICT (post_id, id) DO UPDATE" in commit_statement(((CommentRow, Writing.WHOLE),))


def test_what_nearly_every_row_has_stands_in_the_statement_and_does_not_travel() -> None:
    shape, arguments = commit_arguments(batch(uuid4(), FENCE, (7, comment(1)), (8, comment(2, 8, state="deleted"))))

    assert shape == ((CommentRow, Writing.USUAL), (CommentRow, Writing.WHOLE))
    assert len(arguments) == 5 + (1 + len(COMMENT.travelling)) + (1 + len(COMMENT.columns))
    assert "'visible'::text" in commit_statement(shape)
    assert "NULL::timestamptz" in commit_statement(shape)


def test_a_row_of_a_slot_without_a_fence_is_a_mistake_of_ours() -> None:
    with pytest.raises(AssertionError):
        commit_arguments(batch(uuid4(), FENCE, (9, comment(1))))


def test_a_row_is_made_of_the_values_that_were_selected() -> None:
    assert TABLES[CommentRow].row(msgspec.structs.astuple(comment(1))) == comment(1)
