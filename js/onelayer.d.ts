/** A row's texts by role. Which are needed depends on the task. */
export interface Input {
    /** The text; the passage of a question; the context of a choice. */
    text: string;
    /** The second text, if the model was trained on pairs. */
    pair?: string;
    question?: string;
    /** Of a choice, two or more. */
    options?: string[];
    id?: string;
}

/** A part of a text: `text.slice(start, end)`. */
export interface Span {
    start: number;
    end: number;
    text: string;
}

interface Read {
    /** Tokens that the length limit left out, if any. */
    unread?: number;
}

export interface Classified extends Read {
    /** The likeliest label; null where the model abstains. */
    label: string | null;
    probability: number;
    probabilities: Record<string, number>;
    /** With `coverage`: likeliest first. */
    labelSet?: string[];
}

/** Of a model whose rows can have several labels. */
export interface Labelled extends Read {
    labels: string[];
    probabilities: Record<string, number>;
}

export interface Measured extends Read {
    value: number;
}

export interface Tagged extends Read {
    words: (Span & { tag: string })[];
    entities: (Span & { label: string; score: number })[];
}

export interface Answered extends Read {
    /** Of the answer; null, and an empty text, if the passage has none. */
    start: number | null;
    end: number | null;
    text: string;
    score: number;
    noAnswerScore: number;
    margin: number;
    candidates: (Span & { score: number })[];
}

export interface Chosen extends Read {
    index: number;
    option: string;
    probabilities: number[];
}

export type Prediction = Classified | Labelled | Measured | Tagged | Answered | Chosen;

export interface Description {
    task: "classify" | "regress" | "tag" | "answer" | "choose";
    labels: string[];
    multi_label: boolean;
    max_length: number;
    family: string;
    instructions: string;
    version: string;
}

export interface Options {
    /** Adds label sets that hold the right label with this chance. */
    coverage?: number;
    /** Leaves doubtful rows without a label, so that about this share is wrong. */
    abstain?: number;
    /** The address or the bytes of onelayer.wasm. */
    wasm?: string | URL | Uint8Array | ArrayBuffer | WebAssembly.Module;
}

/** Why a call failed. */
export class OnelayerError extends Error {
    /** Whether the input was wrong, or else the model. */
    badInput: boolean;
}

export class Onelayer<Found extends Prediction = Prediction> {
    private constructor();
    /** Opens what `onelayer export RUN --int8 --single-file` wrote. */
    static open<Found extends Prediction = Prediction>(
        source: string | URL | Uint8Array | ArrayBuffer | Blob | Response,
        options?: Options,
    ): Promise<Onelayer<Found>>;
    readonly description: Readonly<Description>;
    readonly task: Description["task"];
    readonly labels: string[];
    predict(input: string | Input): Found;
    predictAll(inputs: (string | Input)[]): Found[];
    /** Frees the model's memory. */
    close(): void;
}
