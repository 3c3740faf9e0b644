// Onelayer's models in JavaScript: from text to labels, numbers, entities and answers in the browser,
// in Node, Deno or a worker, with the same core that runs on servers, compiled to WebAssembly.
//
//     import { Onelayer } from "onelayer";
//     const model = await Onelayer.open("reviews.onelayer");
//     model.predict("a fine film").label;
//
// A model is a single file: `onelayer export RUN --int8 --single-file`. Offsets count as JavaScript's
// strings do: text.slice(entity.start, entity.end) is the entity.

const TASKS = [, "classify", "regress", "tag", "answer", "choose"];
const BAD_INPUT = 2;

// Structs of onelayer.h for 32 bits; csrc/wasm/layout.cpp doesn't compile where they differ.
const OPTIONS = { coverage: 0, abstain: 8, threads: 16, size: 24 };
const INPUT = { text: 0, pair: 8, question: 16, options: 24, words: 32, id: 40, size: 48 };
const SPAN = { begin: 16, end: 20 };
const WORD = { label: 24, size: 28 };
const ENTITY = { type: 24, score: 32, size: 40 };
const CANDIDATE = { score: 24, size: 32 };
const FOUND = {
    ...{ task: 0, label: 4, probability: 8, probabilities: 16, labels: 24, labelSet: 32 },
    ...{ value: 40, words: 48, entities: 56, candidates: 64, answered: 72, noAnswer: 80 },
    ...{ margin: 88, unread: 96 },
};

/** Why a call failed. `badInput` tells whether the input was wrong, or else the model. */
export class OnelayerError extends Error {
    constructor(message, badInput = false) {
        super(message);
        this.name = "OnelayerError";
        this.badInput = badInput;
    }
}

/** The compiled core, once for each page or process. */
let compiled;

async function compile(source) {
    if (source instanceof WebAssembly.Module) return source;
    if (source instanceof Uint8Array || source instanceof ArrayBuffer)
        return WebAssembly.compile(source);
    const url = new URL(source ?? "onelayer.wasm", import.meta.url);
    if (url.protocol === "file:" && globalThis.process?.versions?.node) {
        const { readFile } = await import("node:fs/promises");
        return WebAssembly.compile(await readFile(url));
    }
    return WebAssembly.compile(await bytesOf(url));
}

async function bytesOf(source) {
    if (source instanceof Uint8Array) return source;
    if (source instanceof ArrayBuffer) return new Uint8Array(source);
    if (source instanceof Blob) return new Uint8Array(await source.arrayBuffer());
    const answer = source instanceof Response ? source : await fetch(source);
    if (!answer.ok) throw new OnelayerError(`${answer.url || source}: HTTP ${answer.status}`);
    return new Uint8Array(await answer.arrayBuffer());
}

/** An instance of the core and its memory, which may move when it grows. */
class Core {
    constructor(module) {
        const host = {
            emscripten_notify_memory_growth: () => {},
            proc_exit: () => { throw new OnelayerError("the core gave up: out of memory?"); },
        };
        // The core has no files and no environment; what else it could ask for says that it failed.
        const imports = {};
        for (const { module: from, name } of WebAssembly.Module.imports(module))
            (imports[from] ??= {})[name] = host[name] ?? (() => 52);
        this.calls = new WebAssembly.Instance(module, imports).exports;
        this.calls._initialize?.();
        this.encoder = new TextEncoder();
        this.decoder = new TextDecoder();
    }

    get view() {
        const { buffer } = this.calls.memory;
        if (this.lastView?.buffer !== buffer) this.lastView = new DataView(buffer);
        return this.lastView;
    }

    bytes(at, size) { return new Uint8Array(this.calls.memory.buffer, at, size); }
    string(at, size) { return this.decoder.decode(this.bytes(at, size)); }
    zeroTerminated(at) { return this.string(at, this.bytes(at).indexOf(0)); }
    number(at) { return this.view.getUint32(at, true); }
    double(at) { return this.view.getFloat64(at, true); }

    memory(size) {
        const at = this.calls.malloc(size);
        if (!at) throw new OnelayerError("no memory");
        return at;
    }

    failure() {
        const message = this.zeroTerminated(this.calls.onelayer_error());
        return new OnelayerError(message, this.calls.onelayer_last_status() === BAD_INPUT);
    }
}

/** Memory for one call, freed together. */
class Scratch {
    constructor(core) {
        this.core = core;
        this.taken = [];
    }

    zeros(size) {
        const at = this.core.memory(size);
        this.taken.push(at);
        this.core.bytes(at, size).fill(0);
        return at;
    }

    /** Writes a string's place and size into a onelayer_text. */
    text(at, string) {
        // A unit of UTF-16 takes three bytes at most. Lone surrogates become U+FFFD, also one unit.
        const room = this.core.memory(3 * string.length + 1);
        this.taken.push(room);
        const into = this.core.bytes(room, 3 * string.length);
        const { written } = this.core.encoder.encodeInto(string, into);
        this.core.view.setUint32(at, room, true);
        this.core.view.setUint32(at + 4, written, true);
    }

    free() {
        for (const at of this.taken) this.core.calls.free(at);
    }
}

export class Onelayer {
    #core;
    #model;

    constructor(core, model) {
        this.#core = core;
        this.#model = model;
        const about = core.zeroTerminated(core.calls.onelayer_describe(model));
        /** The task, labels, longest input, family and instruction set. */
        this.description = Object.freeze(JSON.parse(about));
    }

    /**
     * Opens a single-file bundle.
     *
     * `source`: its bytes, a Blob or File, a Response, or an address. `options.coverage` adds label
     * sets that hold the right label with this chance; `options.abstain` leaves doubtful rows without
     * a label; `options.wasm` is the address or the bytes of onelayer.wasm, by default next to this
     * file.
     */
    static async open(source, { coverage = 0, abstain = 0, wasm } = {}) {
        const module = wasm ? compile(wasm) : (compiled ??= compile());
        const [bytes, core] = await Promise.all([bytesOf(source), module.then((m) => new Core(m))]);
        const scratch = new Scratch(core);
        const at = core.memory(bytes.length + 1);
        try {
            core.bytes(at, bytes.length).set(bytes);
            const options = scratch.zeros(OPTIONS.size);
            core.view.setFloat64(options + OPTIONS.coverage, coverage, true);
            core.view.setFloat64(options + OPTIONS.abstain, abstain, true);
            core.view.setInt32(options + OPTIONS.threads, 1, true);
            const model = core.calls.onelayer_open_memory(at, bytes.length, options);
            if (!model) throw core.failure();
            return new Onelayer(core, model);
        } finally {
            core.calls.free(at);
            scratch.free();
        }
    }

    get task() { return this.description.task; }
    get labels() { return this.description.labels; }

    /**
     * Predicts for one input: a text, or an object by role (text, pair, question, options, id).
     * Returns a plain object; README.md lists the fields of each task.
     */
    predict(input) { return this.predictAll([input])[0]; }

    /** Predicts for several inputs, in one batch. */
    predictAll(inputs) {
        const core = this.#core;
        if (!this.#model) throw new OnelayerError("the model is closed");
        const rows = inputs.map((input) => (typeof input === "string" ? { text: input } : input));
        const scratch = new Scratch(core);
        try {
            const at = scratch.zeros(INPUT.size * rows.length + 1);
            rows.forEach((row, i) => this.#write(scratch, at + INPUT.size * i, row));
            const results = core.calls.onelayer_predict(this.#model, at, rows.length);
            if (!results) throw core.failure();
            try {
                return rows.map((row, i) => this.#read(row, results, i));
            } finally {
                core.calls.onelayer_free(results);
            }
        } finally {
            scratch.free();
        }
    }

    /** Frees the model's memory. */
    close() {
        if (this.#model) this.#core.calls.onelayer_close(this.#model);
        this.#model = 0;
    }

    [Symbol.dispose ?? Symbol.for("dispose")]() { this.close(); }

    #write(scratch, at, row) {
        const view = () => this.#core.view; // memory may have moved since
        if (row?.text == null) throw new OnelayerError("an input has no text", true);
        for (const role of ["text", "pair", "question", "id"])
            if (row[role] != null) scratch.text(at + INPUT[role], String(row[role]));
        if (row.options) {
            const options = scratch.zeros(8 * row.options.length + 1);
            row.options.forEach((option, i) => scratch.text(options + 8 * i, String(option)));
            view().setUint32(at + INPUT.options, options, true);
            view().setUint32(at + INPUT.options + 4, row.options.length, true);
        }
    }

    #read(row, results, index) {
        const core = this.#core;
        const at = core.calls.onelayer_prediction_at(results, index);
        const many = (place, size, read) => {
            const [from, n] = [core.number(at + place), core.number(at + place + 4)];
            return Array.from({ length: n }, (_, i) => read(from + size * i));
        };
        const label = (place) => this.labels[core.view.getInt32(place, true)] ?? null;
        const span = (from) => {
            const [start, end] = [core.number(from + SPAN.begin), core.number(from + SPAN.end)];
            return { start, end, text: row.text.slice(start, end) };
        };
        const numbers = () => many(FOUND.probabilities, 8, (from) => core.double(from));
        const unread = core.number(at + FOUND.unread);
        const found = unread ? { unread } : {};
        switch (TASKS[core.number(at + FOUND.task)]) {
        case "classify": {
            found.probabilities = Object.fromEntries(numbers().map((p, i) => [this.labels[i], p]));
            if (core.number(at + FOUND.labelSet))
                found.labelSet = many(FOUND.labelSet, 4, label);
            if (this.description.multi_label)
                return { labels: many(FOUND.labels, 4, label), ...found };
            return { label: label(at + FOUND.label), probability: core.double(at + FOUND.probability), ...found };
        }
        case "regress":
            return { value: core.double(at + FOUND.value), ...found };
        case "tag":
            return {
                words: many(FOUND.words, WORD.size, (from) => ({ ...span(from), tag: label(from + WORD.label) })),
                entities: many(FOUND.entities, ENTITY.size, (from) => ({
                    ...span(from),
                    label: core.string(core.number(from + ENTITY.type), core.number(from + ENTITY.type + 4)),
                    score: core.double(from + ENTITY.score),
                })),
                ...found,
            };
        case "answer": {
            const candidates = many(FOUND.candidates, CANDIDATE.size, (from) => ({
                ...span(from), score: core.double(from + CANDIDATE.score),
            }));
            const noAnswer = core.double(at + FOUND.noAnswer), margin = core.double(at + FOUND.margin);
            const best = core.number(at + FOUND.answered) ? candidates[0]
                : { start: null, end: null, text: "", score: noAnswer };
            return { ...best, noAnswerScore: noAnswer, margin, candidates, ...found };
        }
        case "choose": {
            const chosen = core.view.getInt32(at + FOUND.label, true);
            return { index: chosen, option: row.options[chosen], probabilities: numbers(), ...found };
        }
        }
        throw new OnelayerError("a task that this version doesn't know");
    }
}
