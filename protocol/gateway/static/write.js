/** Where a member writes a post: a draft, published now, or at a time to come. */

import { postHref } from "./addresses.js";
import { Draft } from "./drafts.js";
import { announce, h, showProblem } from "./dom.js";
import { moment } from "./words.js";

/** Show the editor in `main`, with the post that the address names if it names one. Throws `ApiError`. */
export async function showEditor(context, main) {
  if (!context.session.member) return location.replace("/sign-in?next=/write");
  const id = new URLSearchParams(location.search).get("post");
  const post = id ? await context.api.get(`/v1/posts/${encodeURIComponent(id)}`) : null;
  const editor = new Editor(context, post);
  main.replaceChildren(editor.element);
  document.title = `${post ? "Edit" : "Write"} · ${context.site.title}`;
}

class Editor {
  #context;
  #post;
  #draft;
  #title;
  #body;
  #tags;
  #slug;
  #when;
  #problem = h("p", { class: "problem", role: "alert", hidden: true });
  #saved = h("p", { class: "hint", role: "status" });

  constructor(context, post) {
    this.#context = context;
    this.#post = post;
    this.#draft = new Draft(`post.${post?.id ?? "new"}`);
    this.#title = h("input", { class: "title", name: "title", placeholder: "Title", "aria-label": "Title", maxlength: 300, required: true });
    this.#body = h("textarea", { name: "body", placeholder: "Write in Markdown…", "aria-label": "Text, in Markdown", rows: 16, maxlength: 100_000 });
    this.#tags = h("input", { name: "tags", placeholder: "one, another" });
    this.#slug = h("input", { name: "slug", placeholder: "made from the title", maxlength: 80, pattern: "[a-z0-9]+(-[a-z0-9]+)*", title: "Small letters, digits and single hyphens" });
    this.#when = h("input", { name: "when", type: "datetime-local" });
    this.element = this.#form();
    this.#fill(kept(this.#draft.text) ?? post ?? {});
  }

  #form() {
    const unpublished = !this.#post || this.#post.state !== "published";
    const buttons = unpublished
      ? [this.#button("Publish", "publish", "primary"), this.#button("Keep as a draft", "draft", "")]
      : [this.#button("Save", "save", "primary")];
    const form = h(
      "form",
      { class: "editor", onsubmit: (event) => this.#submit(event), oninput: () => this.#keep() },
      h("h1", { class: "hidden-visually" }, this.#post ? "Edit the post" : "Write a post"),
      this.#title,
      this.#body,
      h("p", { class: "hint" }, "Markdown: # heading, **bold**, *italic*, > quote, `code`, - list, [link](https://…). A blank line begins a paragraph."),
      h(
        "div",
        { class: "fields" },
        labelled("Tags, with commas", this.#tags),
        labelled("Web address", this.#slug),
        unpublished && labelled("Publish at (empty: now)", this.#when),
      ),
      this.#problem,
      this.#saved,
      h("div", { class: "row" }, buttons, this.#post && this.#button("Delete", "delete", "danger")),
    );
    return form;
  }

  #button(text, value, kind) {
    return h("button", { class: kind, value, formnovalidate: value === "delete" }, text);
  }

  #fill({ title = "", body = "", tags = [], slug = "", when = "", publish_at = null }) {
    this.#title.value = title;
    this.#body.value = body;
    this.#tags.value = tags.join(", ");
    this.#slug.value = slug ?? "";
    this.#when.value = when || localTime(publish_at);
  }

  #fields() {
    const fields = {
      title: this.#title.value.trim(),
      body: this.#body.value,
      tags: this.#tags.value.split(",").map((tag) => tag.trim()).filter(Boolean),
    };
    return this.#slug.value ? { ...fields, slug: this.#slug.value } : fields;
  }

  #keep() {
    this.#saved.textContent = "";
    this.#draft.text = JSON.stringify({ ...this.#fields(), when: this.#when.value });
  }

  async #submit(event) {
    event.preventDefault();
    const intent = event.submitter?.value ?? "publish";
    this.element.setAttribute("aria-busy", "true");
    showProblem(this.#problem, null);
    try {
      if (intent === "delete") await this.#delete();
      else await this.#save(intent);
    } catch (error) {
      showProblem(this.#problem, error);
    } finally {
      this.element.removeAttribute("aria-busy");
    }
  }

  async #save(intent) {
    const at = intent === "publish" && this.#when.value ? new Date(this.#when.value).toISOString() : null;
    const post = this.#post ? await this.#saveAgain(intent, at) : await this.#create(intent, at);
    this.#draft.clear();
    if (post.state === "published") return location.assign(postHref(post));
    history.replaceState(null, "", `/write?post=${post.id}`);
    this.#post = post;
    this.#slug.value = post.slug ?? "";
    this.#saved.replaceChildren(
      post.state === "scheduled" ? `Appears ${moment(post.publish_at ?? at)}. ` : "Kept as a draft. ",
      h("a", { href: postHref(post) }, "See it"),
    );
  }

  #create(intent, at) {
    const body = { ...this.#fields(), state: intent === "draft" ? "draft" : "published" };
    if (at) body.publish_at = at;
    return this.#context.api.post("/v1/posts", body, { op: this.#draft.operationFor(JSON.stringify(body)) });
  }

  async #saveAgain(intent, at) {
    const path = `/v1/posts/${this.#post.id}`;
    const post = await this.#context.api.patch(path, this.#fields());
    if (intent !== "publish") return post;
    return this.#context.api.post(`${path}/publish`, at ? { at } : {}, { op: this.#draft.operationFor(`publish ${at}`) });
  }

  async #delete() {
    if (!confirm("Delete this post and its conversation?")) return;
    await this.#context.api.delete(`/v1/posts/${this.#post.id}`);
    this.#draft.clear();
    announce("Post deleted");
    location.assign("/");
  }
}

function labelled(text, input) {
  return h("label", { class: "field" }, h("span", null, text), input);
}

function kept(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/** What a `datetime-local` field takes: the reader's own clock, to the minute. */
function localTime(iso) {
  if (!iso) return "";
  const at = new Date(iso);
  return new Date(at - at.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
}
