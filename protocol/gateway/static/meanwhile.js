/** What comes live while pages are read, which may be newer than they are. */

/** `take(news)` shows it; it hears once more, after a page, of what came while that was read. */
export class Meanwhile {
  #take;
  #reads = new Set();

  constructor(take) {
    this.#take = take;
  }

  /** Something has come. */
  note(news) {
    for (const come of this.#reads) come.push(news);
  }

  /** Have `read` read and show pages. Answers, or throws, what it does. */
  async around(read) {
    const come = [];
    this.#reads.add(come);
    try {
      return await read();
    } finally {
      this.#reads.delete(come);
      for (const news of come) this.#take(news);
    }
  }
}
