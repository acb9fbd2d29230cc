package hookstream.benchmarks;

import io.confluent.parallelconsumer.ParallelConsumerOptions;
import io.confluent.parallelconsumer.ParallelConsumerOptions.ProcessingOrder;
import io.confluent.parallelconsumer.vertx.VertxParallelStreamProcessor;
import io.vertx.core.Future;
import io.vertx.core.Vertx;
import io.vertx.core.VertxOptions;
import io.vertx.core.buffer.Buffer;
import io.vertx.ext.web.client.WebClient;
import io.vertx.ext.web.client.WebClientOptions;
import java.util.List;
import java.util.Properties;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.StringDeserializer;

/**
 * Posts every record of a topic with Confluent's parallel-consumer on Vert.x: order by key.
 *
 * <p>A record's key is {@code target|resource}, its value the body. Only a 2xx counts as success: the library's own
 * {@code vertxHttpRequest} helpers take any answer for one, hence {@code vertxFuture}. What fails is tried again after
 * the library's own second.
 *
 * <p>Arguments: bootstrap servers, topic, group, URL of the receiver, message buffer size (0: the library's own),
 * requests at once.
 */
public final class Peer {
    private static final int TIMEOUT_MS = 15_000;
    // As short as the benchmarks' broker has it for groups of the new protocol, which hookstream's worker joins.
    private static final String SESSION_MS = "6000";
    private static final String HEARTBEAT_MS = "2000";
    private static final int FIRST_SUCCESS = 200;
    private static final int FIRST_OTHER = 300;

    private Peer() {}

    public static void main(String[] args) {
        String url = args[3] + "/t/";
        int bufferSize = Integer.parseInt(args[4]);
        int atOnce = Integer.parseInt(args[5]);

        ParallelConsumerOptions.ParallelConsumerOptionsBuilder<String, byte[]> options = ParallelConsumerOptions.<String, byte[]>builder()
                .consumer(consumer(args[0], args[2]))
                .ordering(ProcessingOrder.KEY)
                .maxConcurrency(atOnce);
        if (bufferSize > 0) {
            options.messageBufferSize(bufferSize);
        }

        Vertx vertx = Vertx.vertx(new VertxOptions());
        WebClient client = WebClient.create(
                vertx,
                new WebClientOptions().setKeepAlive(true).setMaxPoolSize(atOnce).setFollowRedirects(false));
        VertxParallelStreamProcessor<String, byte[]> processor = VertxParallelStreamProcessor.createEosStreamProcessor(options.build());
        Runtime.getRuntime().addShutdownHook(new Thread(processor::closeDontDrainFirst));
        processor.subscribe(List.of(args[1]));
        processor.vertxFuture(context -> {
            String key = context.key();
            return client.postAbs(url + key.substring(0, key.indexOf('|')))
                    .timeout(TIMEOUT_MS)
                    .putHeader("content-type", "application/json")
                    .sendBuffer(Buffer.buffer(context.value()))
                    .compose(answer -> answer.statusCode() >= FIRST_SUCCESS && answer.statusCode() < FIRST_OTHER
                            ? Future.succeededFuture()
                            : Future.failedFuture("status " + answer.statusCode()));
        });
    }

    private static KafkaConsumer<String, byte[]> consumer(String servers, String group) {
        var config = new Properties();
        config.put("bootstrap.servers", servers);
        config.put("group.id", group);
        config.put("enable.auto.commit", "false");
        config.put("auto.offset.reset", "earliest");
        config.put("session.timeout.ms", SESSION_MS);
        config.put("heartbeat.interval.ms", HEARTBEAT_MS);
        return new KafkaConsumer<>(config, new StringDeserializer(), new ByteArrayDeserializer());
    }
}
