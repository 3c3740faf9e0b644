// Predicts for texts with a bundle, in Java 11 or later, by JNI.
//
//     javac Predict.java
//     cc -shared -fPIC predict_jni.c -I$JAVA_HOME/include -I$JAVA_HOME/include/linux \
//         $(pkg-config --cflags --libs onelayer) -o libpredict_jni.so
//     java -Djava.library.path=. Predict runs/reviews-int8 "a fine film" "a dull film"
import java.nio.charset.StandardCharsets;
import java.util.Locale;

public final class Predict implements AutoCloseable {
    /** A part of a text in units of UTF-16: text.substring(begin, end). */
    public static final class Entity {
        public final int begin, end;
        public final String type;

        Entity(int begin, int end, String type) {
            this.begin = begin;
            this.end = end;
            this.type = type;
        }
    }

    public static final class Prediction {
        public final String label; // null for a tagger
        public final double probability;
        public final Entity[] entities;

        Prediction(byte[] label, double probability, int[] spans, byte[][] types) {
            this.label = label == null ? null : new String(label, StandardCharsets.UTF_8);
            this.probability = probability;
            entities = new Entity[types.length];
            for (int i = 0; i < types.length; i++)
                entities[i] = new Entity(spans[2 * i], spans[2 * i + 1],
                                         new String(types[i], StandardCharsets.UTF_8));
        }
    }

    static {
        System.loadLibrary("predict_jni");
    }

    private long model;

    public Predict(String path) {
        model = open(path.getBytes(StandardCharsets.UTF_8));
    }

    /** Any number of threads may call. */
    public Prediction predict(String text) {
        return predict(model, text.getBytes(StandardCharsets.UTF_8));
    }

    @Override
    public void close() {
        close(model);
        model = 0;
    }

    private static native long open(byte[] path);

    private static native Prediction predict(long model, byte[] text);

    private static native void close(long model);

    public static void main(String[] arguments) {
        if (arguments.length < 2) {
            System.err.println("usage: Predict BUNDLE TEXT...");
            System.exit(2);
        }
        StringBuilder out = new StringBuilder();
        try (Predict model = new Predict(arguments[0])) {
            for (int i = 1; i < arguments.length; i++) {
                Prediction found = model.predict(arguments[i]);
                if (found.label != null)
                    out.append(String.format(Locale.ROOT, "%s %.4f\n", found.label, found.probability));
                for (Entity e : found.entities)
                    out.append(e.begin).append('-').append(e.end).append(' ').append(e.type).append(' ')
                        .append(arguments[i], e.begin, e.end).append('\n');
            }
        } catch (IllegalArgumentException failure) {
            System.err.println(failure.getMessage());
            System.exit(1);
        }
        byte[] bytes = out.toString().getBytes(StandardCharsets.UTF_8);
        System.out.write(bytes, 0, bytes.length);
        System.out.flush();
    }
}
