"""WordPress exports, whole, old, broken and hostile."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from protocol.wordpress import BrokenExport, ExportedComment, ExportedPost, LeftOut, read_export

UNIT_TEST_DATA = Path(__file__).parents[3] / "shared" / "data" / "wordpress-theme-unit-test.xml"


def export(items: str, namespace: str = "http://wordpress.org/export/1.2/") -> bytes:
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<rss version="2.0" xmlns:wp="{namespace}" xmlns:excerpt="{namespace}excerpt/"
  xmlns:content="http://purl.org/rss/1.0/modules/content/" xmlns:media="http://search.yahoo.com/mrss/">
<channel>
<link>https://Blog.example/en/</link>
<wp:wxr_version>1.2</wp:wxr_version>
{items}
</channel></rss>""".encode()


def item(fields: str = "", comments: str = "", *, number: int = 7) -> str:
    return f"""<item><title>Hello</title><wp:post_id>{number}</wp:post_id><wp:status>publish</wp:status>
<wp:post_type>post</wp:post_type><wp:post_date_gmt>2020-01-02 03:04:05</wp:post_date_gmt>{fields}{comments}</item>"""


def comment(number: int, parent: int = 0, body: str = "hi", fields: str = "") -> str:
    return f"""<wp:comment><wp:comment_id>{number}</wp:comment_id><wp:comment_parent>{parent}</wp:comment_parent>
<wp:comment_author>Ann</wp:comment_author><wp:comment_content><![CDATA[{body}]]></wp:comment_content>
<wp:comment_date_gmt>2020-01-03 00:00:{number % 60:02}</wp:comment_date_gmt>{fields}</wp:comment>"""


def read(data: bytes, chunk_bytes: int = 1 << 16) -> list[ExportedPost | LeftOut]:
    return list(read_export(data[at : at + chunk_bytes] for at in range(0, len(data), chunk_bytes)))


def only_post(data: bytes) -> ExportedPost:
    (post,) = read(data)
    assert isinstance(post, ExportedPost)
    return post


def broken(data: bytes) -> BrokenExport:
    with pytest.raises(BrokenExport) as caught:
        read(data)
    return caught.value


def test_a_post_is_read_with_its_comments() -> None:
    fields = """<content:encoded><![CDATA[One <em>two</em>

three]]></content:encoded><excerpt:encoded>not this</excerpt:encoded><media:title>nor this</media:title>
<wp:post_name>hello-%ce%b1</wp:post_name><wp:comment_status>closed</wp:comment_status>
<category domain="post_tag" nicename="a">Tom &amp;amp; Ann</category><category domain="nav">x</category>"""
    about = "<wp:comment_author_url>https://ann.example/</wp:comment_author_url>"
    assert only_post(export(item(fields, comment(3, fields=about)))) == ExportedPost(
        source="blog.example/en/7",
        title="Hello",
        slug="hello-α",
        body="One *two*\n\nthree",
        tags=["tom & ann"],
        state="published",
        publish_ms=None,
        created_ms=1_577_934_245_000,
        comments_open=False,
        comments=[
            ExportedComment(
                source="blog.example/en#comment-3",
                parent_source=None,
                name="Ann",
                url="https://ann.example/",
                body="hi",
                created_ms=1_578_009_603_000,
                kind="comment",
                held=False,
                line=12,
            )
        ],
        left_out=[],
        line=7,
    )


@pytest.mark.parametrize(
    "namespace", ["http://wordpress.org/export/1.0/", "https://wordpress.org/export/1.2/", "urn:something-else/"]
)
def test_the_namespace_of_the_export_does_not_matter(namespace: str) -> None:
    post = only_post(export(item("<content:encoded>a</content:encoded>", comment(1)), namespace))
    assert (post.body, len(post.comments)) == ("a", 1)


def test_a_file_may_arrive_byte_by_byte() -> None:
    data = export(item("<content:encoded>Γειά &#x1F600;</content:encoded>", comment(1)))
    assert read(data, chunk_bytes=1) == read(data)


def test_items_are_given_before_the_end_is_read() -> None:
    def chunks() -> Iterator[bytes]:
        yield export(item()).partition(b"</channel>")[0]
        raise AssertionError("read on although an item was there")

    assert isinstance(next(read_export(chunks())), ExportedPost)


# -- what is carried over ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "state"),
    [("publish", "published"), ("future", "published"), ("draft", "draft"), ("pending", "draft"), ("private", "draft")],
)
def test_what_only_its_authors_could_see_stays_a_draft(status: str, state: str) -> None:
    post = only_post(export(item(f"<wp:status>{status}</wp:status>")))
    assert post.state == state
    assert post.publish_ms == (post.created_ms if status == "future" else None)


def test_a_post_with_a_password_becomes_a_draft() -> None:
    assert only_post(export(item("<wp:post_password>enter</wp:post_password>"))).state == "draft"


def test_what_is_no_post_is_left_out_with_its_line_and_its_comments() -> None:
    attachment = item("<wp:post_type>attachment</wp:post_type>", comment(1))
    trashed = item("<wp:status>trash</wp:status>", number=8)
    assert read(export(attachment + "\n" + trashed)) == [
        LeftOut(7, "attachment 7", "attachment: not a post"),
        LeftOut(8, "comment 1", "comment of a left-out attachment"),
        LeftOut(11, "post 8", "post with status trash"),
    ]


def test_a_post_without_a_title_gets_one() -> None:
    assert only_post(export(item("<title></title>"))).title == "(no title)"
    assert only_post(export(item("<title></title><wp:post_name>a-name</wp:post_name>"))).title == "a-name"


def test_a_title_loses_its_tags_and_keeps_its_length() -> None:
    post = only_post(export(item(f"<title>{'&lt;b&gt;é&lt;/b&gt;' * 400}</title>")))
    assert post.title == "é" * 299 + "…"


def test_a_draft_without_a_date_has_none_and_a_local_one_is_taken() -> None:
    zeros = "<wp:post_date_gmt>0000-00-00 00:00:00</wp:post_date_gmt>"
    assert only_post(export(item(zeros))).created_ms is None
    assert only_post(export(item(zeros + "<wp:post_date>1970-01-01 00:00:01</wp:post_date>"))).created_ms == 1000
    assert only_post(export(item(zeros + "<pubDate>Thu, 01 Jan 1970 00:00:02 +0000</pubDate>"))).created_ms == 2000


def test_newlines_of_the_block_editor_break_no_line() -> None:
    body = "<![CDATA[<!-- wp:paragraph -->\n<p>a\nb</p>\n<!-- /wp:paragraph -->]]>"
    assert only_post(export(item(f"<content:encoded>{body}</content:encoded>"))).body == "a b"


def test_captions_are_unwrapped_and_other_brackets_kept() -> None:
    body = '[caption id="x"]A dog[/caption] [...]'
    assert only_post(export(item(f"<content:encoded>{body}</content:encoded>"))).body == "A dog \\[...\\]"


def test_unapproved_comments_are_held_and_spam_is_left_out() -> None:
    marks = ["1", "0", "spam", "trash", "post-trashed"]
    fields = [f"<wp:comment_approved>{mark}</wp:comment_approved>" for mark in marks]
    post = only_post(export(item(comments="".join(comment(n, fields=each) for n, each in enumerate(fields, 1)))))
    assert [(found.source[-1], found.held) for found in post.comments] == [("1", False), ("2", True)]
    assert [left.reason for left in post.left_out] == [
        "comment in spam",
        "comment in the trash",
        "comment in the trash",
    ]


def test_pingbacks_and_trackbacks_are_kept_apart_and_plugins_notes_left_out() -> None:
    kinds = ["", "comment", "pingback", "trackback", "order_note"]
    fields = [f"<wp:comment_type>{kind}</wp:comment_type>" for kind in kinds]
    post = only_post(export(item(comments="".join(comment(n, fields=each) for n, each in enumerate(fields, 1)))))
    assert [found.kind for found in post.comments] == ["comment", "comment", "pingback", "pingback"]
    assert [left.reason for left in post.left_out] == ["comment of type order_note"]


def test_too_long_and_empty_comments_are_left_out() -> None:
    post = only_post(export(item(comments=comment(1, body="x" * 10_001) + comment(2, body="<br>") + comment(3))))
    assert [found.source[-1] for found in post.comments] == ["3"]
    assert [left.reason for left in post.left_out] == [
        "comment: a comment has at most 10000 characters",
        "comment: the comment is empty",
    ]


def test_an_author_without_a_name_is_anonymous_and_a_scripts_address_no_link() -> None:
    fields = """<wp:comment_author> </wp:comment_author>
<wp:comment_author_url>javascript:alert(1)</wp:comment_author_url>"""
    (found,) = only_post(export(item(comments=comment(1, fields=fields)))).comments
    assert (found.name, found.url) == ("Anonymous", None)


# -- order ------------------------------------------------------------------------------------------------------------


def threads(comments: str) -> list[tuple[str, str | None]]:
    post = only_post(export(item(comments=comments)))
    short = {found.source: found.source.rpartition("-")[2] for found in post.comments}
    return [(short[found.source], found.parent_source and short[found.parent_source]) for found in post.comments]


def test_parents_stand_before_their_replies_and_else_the_oldest_first() -> None:
    assert threads(comment(3, 2) + comment(2, 4) + comment(1) + comment(4)) == [
        ("1", None),
        ("4", None),
        ("2", "4"),
        ("3", "2"),
    ]


def test_a_reply_to_what_is_left_out_hangs_on_the_nearest_that_is_not() -> None:
    spam = "<wp:comment_approved>spam</wp:comment_approved>"
    assert threads(comment(1) + comment(2, 1, fields=spam) + comment(3, 2, fields=spam) + comment(4, 3)) == [
        ("1", None),
        ("4", "1"),
    ]


def test_a_reply_to_nothing_is_at_the_top() -> None:
    assert threads(comment(1, 99)) == [("1", None)]


def test_a_circle_of_replies_is_cut() -> None:
    assert threads(comment(1, 2) + comment(2, 1) + comment(3, 3)) == [("1", None), ("2", "1"), ("3", None)]


def test_a_comment_listed_twice_is_taken_once() -> None:
    post = only_post(export(item(comments=comment(1) + comment(1))))
    assert len(post.comments) == 1
    assert [left.reason for left in post.left_out] == ["comment listed twice"]


# -- what is refused --------------------------------------------------------------------------------------------------


def test_a_cut_file_is_broken_where_it_ends() -> None:
    whole = export(item())
    error = broken(whole[: whole.index(b"</item>")])
    assert (error.line, error.reason) == (8, "no element found")


@pytest.mark.parametrize(
    ("data", "line", "reason"),
    [
        (export(item("\n<b></i>")), 9, "mismatched tag"),
        (export(item("\n\n\x08")), 10, "not well-formed (invalid token)"),
        (export(item()).replace(b"Hello", b"\xff"), 7, "not well-formed (invalid token)"),
        (export(item(number=-1)), 7, "post_id is not a number: '-1'"),
        (export(item("\n" + comment(0))), 9, "no comment_id"),
        (b"<html></html>", 1, "not a WordPress export: it begins with <html>, not with <rss>"),
        (b"<rss>\n<channel></channel></rss>", 2, "not a WordPress export: it has no wxr_version"),
        (b"<rss>\n<channel><item></item></channel></rss>", 2, "not a WordPress export: it has no wxr_version"),
        (b"", 1, "no element found"),
        (b"<?xml version='1.0' encoding='nonsense'?><rss/>", 1, "unknown encoding: nonsense"),
    ],
)
def test_a_broken_file_says_where_and_why(data: bytes, line: int, reason: str) -> None:
    error = broken(data)
    assert (error.line, error.reason) == (line, reason)


def test_an_entity_bomb_is_refused_before_it_grows() -> None:
    bomb = b'<!DOCTYPE rss [\n<!ENTITY a "aaaaaaaaaa">\n<!ENTITY b "&a;&a;">\n]>\n<rss>&b;</rss>'
    assert (broken(bomb).line, broken(bomb).reason) == (2, "it declares an entity (a), which no export does")


def test_an_external_entity_is_refused() -> None:
    assert (
        "declares an entity" in broken(b'<!DOCTYPE rss [<!ENTITY a SYSTEM "file:///etc/passwd">]><rss>&a;</rss>').reason
    )


def test_deep_nesting_is_only_skipped() -> None:
    assert only_post(export(item("<x>" * 10_000 + "</x>" * 10_000))).title == "Hello"


# -- WordPress' own test data -----------------------------------------------------------------------------------------


@pytest.mark.skipif(not UNIT_TEST_DATA.exists(), reason="WordPress' theme unit test data is not beside the repository")
def test_wordpress_own_test_data() -> None:
    posts = [found for found in read(UNIT_TEST_DATA.read_bytes()) if isinstance(found, ExportedPost)]
    comments = [found for post in posts for found in post.comments]
    assert len(posts) == 79
    assert len(comments) == 33
    assert sum(found.held for found in comments) == 3
    assert sum(found.kind == "pingback" for found in comments) == 4
    depths: dict[str | None, int] = {None: -1}
    for found in comments:
        depths[found.source] = depths[found.parent_source] + 1
    assert max(depths.values()) == 9
