//! Predicts for texts with a bundle, in Rust, without a crate.
//!
//!     rustc -O predict.rs -L FOLDER -l onelayer
//!     ./predict runs/reviews-int8 "a fine film" "a dull film"

use std::ffi::{c_char, c_void, CStr, CString};
use std::{env, process, ptr, slice};

#[repr(C)]
#[derive(Clone, Copy)]
struct Text {
    data: *const u8,
    size: usize,
}

#[repr(C)]
struct Input {
    text: Text,
    pair: Text,
    question: Text,
    options: *const Text,
    n_options: usize,
    words: *const c_void,
    n_words: usize,
    id: Text,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Span {
    byte: [usize; 2],
    point: [usize; 2],
    utf16: [usize; 2],
}

#[repr(C)]
struct Entity {
    span: Span,
    kind: Text,
    score: f64,
}

/// The first fields of onelayer_prediction; the library owns the memory, so the others may be left out.
#[repr(C)]
struct Found {
    task: i32,
    label: i32,
    probability: f64,
    probabilities: [usize; 2], // pointers and counts that this example doesn't read
    labels: [usize; 2],
    label_set: [usize; 2],
    value: f64,
    words: [usize; 2],
    entities: *const Entity,
    n_entities: usize,
}

#[link(name = "onelayer")]
extern "C" {
    fn onelayer_open(path: *const c_char, options: *const c_void) -> *mut c_void;
    fn onelayer_close(model: *mut c_void);
    fn onelayer_error() -> *const c_char;
    fn onelayer_label(model: *const c_void, index: usize) -> Text;
    fn onelayer_predict(model: *const c_void, inputs: *const Input, n: usize) -> *mut c_void;
    fn onelayer_prediction_at(results: *const c_void, index: usize) -> *const Found;
    fn onelayer_free(results: *mut c_void);
}

struct Entities {
    begin: usize, // bytes: text[begin..end]
    end: usize,
    kind: String,
}

struct Prediction {
    label: Option<String>,
    probability: f64,
    entities: Vec<Entities>,
}

struct Model(*mut c_void);

// Any number of threads may use a model at once.
unsafe impl Send for Model {}
unsafe impl Sync for Model {}

impl Model {
    fn open(path: &str) -> Result<Model, String> {
        let path = CString::new(path).map_err(|error| error.to_string())?;
        let model = unsafe { onelayer_open(path.as_ptr(), ptr::null()) };
        if model.is_null() { Err(failure()) } else { Ok(Model(model)) }
    }

    fn predict(&self, texts: &[String]) -> Result<Vec<Prediction>, String> {
        const NONE: Text = Text { data: ptr::null(), size: 0 };
        let inputs: Vec<Input> = texts
            .iter()
            .map(|text| Input {
                text: Text { data: text.as_ptr(), size: text.len() },
                pair: NONE,
                question: NONE,
                options: ptr::null(),
                n_options: 0,
                words: ptr::null(),
                n_words: 0,
                id: NONE,
            })
            .collect();
        unsafe {
            let results = onelayer_predict(self.0, inputs.as_ptr(), inputs.len());
            if results.is_null() {
                return Err(failure());
            }
            let found = (0..texts.len())
                .map(|i| self.read(&*onelayer_prediction_at(results, i)))
                .collect();
            onelayer_free(results);
            Ok(found)
        }
    }

    unsafe fn read(&self, found: &Found) -> Prediction {
        let entities = match found.n_entities {
            0 => &[], // a slice's pointer may not be null
            n => slice::from_raw_parts(found.entities, n),
        };
        Prediction {
            label: (found.label >= 0).then(|| owned(onelayer_label(self.0, found.label as usize))),
            probability: found.probability,
            entities: entities
                .iter()
                .map(|e| Entities { begin: e.span.byte[0], end: e.span.byte[1], kind: owned(e.kind) })
                .collect(),
        }
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        unsafe { onelayer_close(self.0) }
    }
}

fn failure() -> String {
    unsafe { CStr::from_ptr(onelayer_error()) }.to_string_lossy().into_owned()
}

unsafe fn owned(text: Text) -> String {
    if text.size == 0 {
        return String::new();
    }
    String::from_utf8_lossy(slice::from_raw_parts(text.data, text.size)).into_owned()
}

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    if arguments.len() < 2 {
        eprintln!("usage: predict BUNDLE TEXT...");
        process::exit(2);
    }
    let texts = &arguments[1..];
    match Model::open(&arguments[0]).and_then(|model| model.predict(texts)) {
        Err(message) => {
            eprintln!("{message}");
            process::exit(1);
        }
        Ok(found) => {
            for (text, row) in texts.iter().zip(found) {
                if let Some(label) = row.label {
                    println!("{label} {:.4}", row.probability);
                }
                for Entities { begin, end, kind } in row.entities {
                    println!("{begin}-{end} {kind} {}", &text[begin..end]);
                }
            }
        }
    }
}
