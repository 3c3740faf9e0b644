// All texts of the pages in English and Chinese, and the language in use.

import { store, stored } from "./api.js";

export const WORDS = {
  en: {
    code: "en",
    other: "中文",
    more: "More",
    api: "API",
    metrics: "Metrics",
    page: "Try it",
    model: "Model",
    key: "API key",
    use: "Use key",
    keyhint: "It is kept in this tab only, until you close it.",
    send: "Send",
    clear: "Clear",
    examples: "Examples",
    generic: "General examples, not from this model’s data",
    answer: "Answer",
    shell: "The same request with curl",
    copy: "Copy",
    copied: "Copied",
    does_classify: "gives a text its label",
    does_regress: "gives a text a number",
    does_tag: "labels the words of a text",
    does_answer: "finds the answer in a passage",
    does_choose: "chooses one of several options",
    one: (names) => `This model answers one of: ${names}`,
    several: (names) => `This model gives any of: ${names}`,
    finds: (names) => `This model finds: ${names}`,
    comma: ", ",
    further: (n) => ` … and ${n} more`,
    reads: (n) => `reads up to ${n} tokens at a time`,
    text: "Text",
    first: "First text",
    pair: "Second text",
    question: "Question",
    optional: "Question (optional)",
    context: "Passage",
    options: "Options, one per line",
    empty: "The answer will appear here.",
    missing: (field) => `Please fill in: ${field.toLowerCase()}.`,
    two: "Give at least two options.",
    chosen: "chosen",
    nolabel: "No label",
    all: (n) => `All ${n}`,
    entities: (n) => (n === 0 ? "No entity found" : n === 1 ? "1 entity" : `${n} entities`),
    words: (n) => (n === 1 ? "1 word" : `${n} words`),
    between: (low, high) => `The rows that scored the model have numbers from ${low} to ${high}.`,
    list: "As a list",
    type: "Type",
    characters: "Characters",
    probability: "Probability",
    threshold: "A line marks the threshold: the label is given from this probability on.",
    noanswer: "No answer in this passage",
    others: "Other candidates",
    candidates: "Candidates",
    margin: "Percentages are shares among all candidates. Whether there is an answer is decided by a margin between “no answer” and the best span, which the rows that scored the model chose.",
    took: (ms) => `${ms} ms, measured in the browser`,
    read: (n) => (n === "1" ? "1 token read" : `${n} tokens read`),
    unread: (n) => `The length limit cut off ${n} ${n === "1" ? "token" : "tokens"}.`,
    e0: "The server can’t be reached.",
    e401: "The server needs an API key.",
    wrongkey: "The server does not accept this API key.",
    e404: "The server has no such model.",
    e408: "The request took too long.",
    e413: "The request is too large for this server.",
    e422: "The server can’t use this input.",
    e429: (s) => `The server is busy. Try again in ${s} ${s === 1 ? "second" : "seconds"}.`,
    e503: "The server is not ready: it is starting or stopping.",
    refused: (status) => `The server answered with status ${status}.`,
    request: (id) => `Request ${id}`,
    schemas: "Objects",
    parameters: "Parameters",
    body: "Body",
    answers: "Answers",
    required: "required",
    default: "default",
    intro: "All routes of this server, from its OpenAPI description.",
  },
  zh: {
    code: "zh-Hans",
    other: "English",
    more: "更多",
    api: "接口",
    metrics: "指标",
    page: "试一试",
    model: "模型",
    key: "API 密钥",
    use: "使用",
    keyhint: "密钥只留在这个标签页里，关闭后即消失。",
    send: "发送",
    clear: "清空",
    examples: "示例",
    generic: "通用示例，并非来自该模型的数据",
    answer: "结果",
    shell: "用 curl 发送同样的请求",
    copy: "复制",
    copied: "已复制",
    does_classify: "给文本归类",
    does_regress: "给文本打分",
    does_tag: "给文本里的词打标签",
    does_answer: "在段落里找答案",
    does_choose: "从选项中挑选",
    one: (names) => `这个模型从这些标签里选一个：${names}`,
    several: (names) => `这个模型给出这些标签里的若干个：${names}`,
    finds: (names) => `这个模型标出：${names}`,
    comma: "、",
    further: (n) => `……另有 ${n} 个`,
    reads: (n) => `一次最多读 ${n} 个词元`,
    text: "文本",
    first: "第一段文本",
    pair: "第二段文本",
    question: "问题",
    optional: "问题（可不填）",
    context: "段落",
    options: "选项，每行一个",
    empty: "结果会显示在这里。",
    missing: (field) => `还没有填写：${field}。`,
    two: "至少要有两个选项。",
    chosen: "选中",
    nolabel: "没有标签",
    all: (n) => `全部 ${n} 个`,
    entities: (n) => (n === 0 ? "没有找到实体" : `${n} 个实体`),
    words: (n) => `${n} 个词`,
    between: (low, high) => `评估模型所用的行，数值范围：${low} 至 ${high}。`,
    list: "列表",
    type: "类型",
    characters: "字符",
    probability: "概率",
    threshold: "竖线是阈值：概率达到阈值才给出该标签。",
    noanswer: "段落里没有答案",
    others: "其他候选",
    candidates: "候选",
    margin: "百分比是在全部候选中的份额。有没有答案，由“没有答案”与最好的片段之间的差距决定，界限由验证集选定。",
    took: (ms) => `${ms} 毫秒（浏览器测得）`,
    read: (n) => `读取 ${n} 个词元`,
    unread: (n) => `超出长度上限，截去了 ${n} 个词元。`,
    e0: "连接不上服务器。",
    e401: "服务器需要 API 密钥。",
    wrongkey: "服务器不接受这个 API 密钥。",
    e404: "服务器没有这个模型。",
    e408: "请求超时。",
    e413: "请求太大，服务器无法接收。",
    e422: "服务器无法处理这个输入。",
    e429: (s) => `服务器正忙，请 ${s} 秒后再试。`,
    e503: "服务器尚未就绪：正在启动或停止。",
    refused: (status) => `服务器返回状态码 ${status}。`,
    request: (id) => `请求 ${id}`,
    schemas: "对象",
    parameters: "参数",
    body: "请求体",
    answers: "响应",
    required: "必填",
    default: "默认",
    intro: "这台服务器的全部路由，取自它的 OpenAPI 描述。",
  },
};

let lang = stored("language") || (/^zh\b/i.test(navigator.language) ? "zh" : "en");

export const language = () => WORDS[lang].code;

/** The text of this name in the current language, with its values filled in. */
export function t(name, ...values) {
  const word = WORDS[lang][name];
  return typeof word === "function" ? word(...values) : word;
}

/** A number as it is written in the current language. */
export const formatNumber = (n, options) => n.toLocaleString(language(), options);

const PERCENT = { style: "percent", minimumFractionDigits: 1, maximumFractionDigits: 1 };
export const formatPercent = (p) => formatNumber(p, PERCENT);

/** Fills in the texts of the page. Calls `changed` now and whenever the language is switched. */
export function translatePage(changed) {
  document.documentElement.lang = language();
  for (const it of document.querySelectorAll("[data-text]")) it.textContent = t(it.dataset.text);
  for (const it of document.querySelectorAll("[data-label]"))
    it.setAttribute("aria-label", t(it.dataset.label));
  const other = document.getElementById("language");
  other.textContent = t("other");
  other.lang = lang === "en" ? "zh-Hans" : "en";
  other.onclick = () => {
    lang = lang === "en" ? "zh" : "en";
    store("language", lang);
    translatePage(changed);
  };
  changed();
}

const EXAMPLES = {
  en: {
    classify: [
      { text: "The room was spotless, and the breakfast alone is worth the trip." },
      { text: "I was charged twice and nobody answers the phone." },
      { text: "Could you tell me when the library opens on Sunday?" },
    ],
    pair: [
      {
        text: "A man is playing the guitar on a bench.",
        pair: "Someone is making music outdoors.",
      },
      { text: "All shops are closed today.", pair: "The bakery on the corner is open." },
    ],
    tag: [
      { text: "Marie Curie moved from Warsaw to Paris and taught at the Sorbonne." },
      { text: "🎉 Next spring the Royal Ballet will dance in Vienna and Tokyo." },
    ],
    answer: [
      {
        question: "When was the bridge opened?",
        context:
          "The old stone bridge was swept away by a flood in 1871. For six years people crossed " +
          "the river by ferry, until a new bridge of iron was opened in 1877. It still stands, " +
          "though only for those who walk or cycle.",
      },
      {
        question: "Who paid for the new bridge?",
        context:
          "The old stone bridge was swept away by a flood in 1871. A new one was opened in 1877.",
      },
    ],
    choose: [
      {
        context: "It has been raining since the morning, and the picnic is at noon.",
        question: "What will the friends probably do?",
        options: "Water the garden\nEat indoors\nBuy sun cream",
      },
    ],
  },
  zh: {
    classify: [
      { text: "房间很干净，早餐尤其好，下次还会来。" },
      { text: "同一笔钱扣了两次，打电话也没人接。" },
      { text: "请问图书馆星期天几点开门？" },
    ],
    pair: [
      { text: "一个男人坐在长椅上弹吉他。", pair: "有人在户外演奏音乐。" },
      { text: "今天所有商店都关门。", pair: "街角的面包店还开着。" },
    ],
    tag: [
      { text: "玛丽·居里从华沙来到巴黎，后来在索邦大学任教。" },
      { text: "🎉明年春天，中央芭蕾舞团将在维也纳和东京演出。" },
    ],
    answer: [
      {
        question: "新桥是哪一年通车的？",
        context:
          "老石桥在1871年被洪水冲走，此后六年，人们只能坐渡船过河。1877年，一座新的铁桥通车，" +
          "今天它仍在原处，只供行人和自行车通过。",
      },
      { question: "新桥是谁出钱修的？", context: "老石桥在1871年被洪水冲走。1877年，新桥通车。" },
    ],
    choose: [
      {
        context: "从早上起就一直下雨，野餐定在中午。",
        question: "朋友们最可能怎么做？",
        options: "给花园浇水\n改在屋里吃\n去买防晒霜",
      },
    ],
  },
};

/** The fixed examples that may suit a model with these labels: Chinese ones for labels in Chinese,
 * none for labels in another script than Latin, else those in the page's language. */
function suiting(labels) {
  const letters = labels.join("").replace(/[\p{Script=Latin}\P{L}]/gu, "");
  if (!letters) return EXAMPLES[lang];
  return /^\p{Script=Han}+$/u.test(letters) ? EXAMPLES.zh : {};
}

/** Fixed inputs for a model: those of its task, else any that have all the roles. */
export function generalExamples({ task, inputs, labels }) {
  const known = suiting(labels ?? []);
  const all = [inputs.includes("pair") ? known.pair : known[task], ...Object.values(known)];
  return all.find((some) => some && inputs.every((role) => role in some[0])) ?? [];
}
