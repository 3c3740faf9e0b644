/* The native methods of Predict.java. Texts pass as bytes of UTF-8, because JNI's own strings are in
 * another form of it. */
#include <jni.h>
#include <onelayer.h>
#include <stdlib.h>

static void throw_failure(JNIEnv *env)
{
    jclass kind = (*env)->FindClass(env, "java/lang/IllegalArgumentException");
    if (kind)
        (*env)->ThrowNew(env, kind, onelayer_error());
}

static jbyteArray bytes_of(JNIEnv *env, onelayer_text text)
{
    jbyteArray bytes = (*env)->NewByteArray(env, (jsize)text.size);
    if (bytes)
        (*env)->SetByteArrayRegion(env, bytes, 0, (jsize)text.size, (const jbyte *)text.data);
    return bytes;
}

/* A zero-terminated copy of a byte array; NULL, with an exception pending, without memory. */
static char *copy_of(JNIEnv *env, jbyteArray bytes, jsize *size)
{
    *size = (*env)->GetArrayLength(env, bytes);
    char *copy = malloc((size_t)*size + 1);
    if (!copy) {
        jclass kind = (*env)->FindClass(env, "java/lang/OutOfMemoryError");
        if (kind)
            (*env)->ThrowNew(env, kind, "no memory");
        return NULL;
    }
    (*env)->GetByteArrayRegion(env, bytes, 0, *size, (jbyte *)copy);
    copy[*size] = '\0';
    return copy;
}

JNIEXPORT jlong JNICALL Java_Predict_open(JNIEnv *env, jclass self, jbyteArray path)
{
    (void)self;
    jsize size;
    char *name = copy_of(env, path, &size);
    if (!name)
        return 0;
    onelayer_model *model = onelayer_open(name, NULL);
    free(name);
    if (!model)
        throw_failure(env);
    return (jlong)model;
}

static jobject prediction_of(JNIEnv *env, const onelayer_model *model,
                             const onelayer_prediction *found)
{
    const jsize n = (jsize)found->n_entities;
    jclass kind = (*env)->FindClass(env, "Predict$Prediction");
    jclass bytes = (*env)->FindClass(env, "[B");
    jmethodID make = kind ? (*env)->GetMethodID(env, kind, "<init>", "([BD[I[[B)V") : NULL;
    jintArray spans = make ? (*env)->NewIntArray(env, 2 * n) : NULL;
    jobjectArray types = spans && bytes ? (*env)->NewObjectArray(env, n, bytes, NULL) : NULL;
    if (!types)
        return NULL;
    for (jsize i = 0; i < n; i++) {
        const onelayer_entity *entity = &found->entities[i];
        const jint span[] = {(jint)entity->span.utf16_begin, (jint)entity->span.utf16_end};
        (*env)->SetIntArrayRegion(env, spans, 2 * i, 2, span);
        jbyteArray type = bytes_of(env, entity->type);
        if (!type)
            return NULL;
        (*env)->SetObjectArrayElement(env, types, i, type);
        (*env)->DeleteLocalRef(env, type);
    }
    jbyteArray label = NULL;
    if (found->label >= 0)
        label = bytes_of(env, onelayer_label(model, (size_t)found->label));
    return (*env)->NewObject(env, kind, make, label, found->probability, spans, types);
}

JNIEXPORT jobject JNICALL Java_Predict_predict(JNIEnv *env, jclass self, jlong model,
                                               jbyteArray text)
{
    (void)self;
    jsize size;
    char *bytes = copy_of(env, text, &size);
    if (!bytes)
        return NULL;
    const onelayer_input input = {.text = {bytes, (size_t)size}};
    onelayer_results *results = onelayer_predict((const onelayer_model *)model, &input, 1);
    jobject found = NULL;
    if (results)
        found = prediction_of(env, (const onelayer_model *)model,
                              onelayer_prediction_at(results, 0));
    else
        throw_failure(env);
    onelayer_free(results);
    free(bytes);
    return found;
}

JNIEXPORT void JNICALL Java_Predict_close(JNIEnv *env, jclass self, jlong model)
{
    (void)env, (void)self;
    onelayer_close((onelayer_model *)model);
}
