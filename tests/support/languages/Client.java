// Stock clients of Java. Arguments: the server's address. Prints a line a request: its status, and
// what its spans cut out of the text.
import java.io.OutputStream;
import java.net.HttpURLConnection;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

public class Client {
    static final String TEXT = "a 😀 the good cat 我们";
    static final String BODY = "{\"inputs\": \"" + TEXT + "\", \"offsets\": \"utf16\"}";
    static final Pattern SPAN = Pattern.compile("\"start\":(\\d+),\"end\":(\\d+),\"text\":\"([^\"]*)\"");

    public static void main(String[] arguments) throws Exception {
        URI tag = URI.create(arguments[0] + "/v1/models/names/tag");
        HttpClient usual = HttpClient.newHttpClient(); // asks to change to HTTP/2 (h2c)
        for (int i = 0; i < 3; i++) send(usual, HttpRequest.newBuilder(tag));
        send(usual, HttpRequest.newBuilder(tag).expectContinue(true));
        HttpClient old = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();
        send(old, HttpRequest.newBuilder(tag));
        for (int i = 0; i < 2; i++) {
            HttpURLConnection connection = (HttpURLConnection) tag.toURL().openConnection();
            connection.setDoOutput(true);
            connection.setRequestProperty("Content-Type", "application/json");
            if (i == 1) connection.setChunkedStreamingMode(16);
            try (OutputStream body = connection.getOutputStream()) {
                body.write(BODY.getBytes(StandardCharsets.UTF_8));
            }
            byte[] answer = connection.getInputStream().readAllBytes();
            report(connection.getResponseCode(), new String(answer, StandardCharsets.UTF_8));
        }
    }

    static void send(HttpClient client, HttpRequest.Builder request) throws Exception {
        request.header("Content-Type", "application/json");
        request.POST(HttpRequest.BodyPublishers.ofString(BODY));
        HttpResponse<String> answer = client.send(request.build(), HttpResponse.BodyHandlers.ofString());
        report(answer.statusCode(), answer.body());
    }

    static void report(int status, String body) throws Exception {
        StringBuilder line = new StringBuilder(String.valueOf(status));
        Matcher span = SPAN.matcher(body);
        while (span.find()) {
            int start = Integer.parseInt(span.group(1)), end = Integer.parseInt(span.group(2));
            line.append('|').append(TEXT, start, end);
            if (!TEXT.substring(start, end).equals(span.group(3))) line.append("!=").append(span.group(3));
        }
        System.out.write((line + "\n").getBytes(StandardCharsets.UTF_8));
    }
}
