package io.pageflux.qemu.qmp;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.netty.buffer.ByteBuf;
import io.netty.buffer.ByteBufUtil;
import io.netty.channel.ChannelHandlerContext;
import io.netty.channel.ChannelInboundHandlerAdapter;
import io.netty.util.ReferenceCountUtil;
import io.pageflux.MigrationException;
import io.pageflux.MigrationException.Kind;
import java.time.Duration;
import java.time.Instant;
import java.util.HashMap;
import java.util.Map;
import java.util.concurrent.Future;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;
import reactor.core.publisher.Sinks;

/**
 * The protocol on one connection: greeting, negotiation, then answers by id and events between.
 *
 * <p>Everything that is not final here belongs to the channel's event loop; timers run there too,
 * so that an answer and its timeout cannot meet. The session ends once, in {@link #end}, with the
 * first thing that goes wrong, and all that waits learns of it.
 */
final class QmpSession extends ChannelInboundHandlerAdapter {

  /** Commands that QEMU has not answered, with those that nobody waits for any more. */
  static final int MAX_UNANSWERED = 1024;

  private enum Phase {
    GREETING,
    NEGOTIATING,
    READY,
    ENDED
  }

  private final QmpSpec spec;
  private final Sinks.One<QmpClient> ready;
  private final QmpLines lines;
  private final Map<Long, PendingCommand> unanswered = new HashMap<>();

  /** Only the event loop emits. A subscriber's queue is {@link QmpClient#events()}' business. */
  private final Sinks.Many<QmpEvent> events = Sinks.unsafe().many().multicast().directBestEffort();

  private final Sinks.Empty<Void> ended = Sinks.empty();

  private Phase phase = Phase.GREETING;
  private ObjectNode greeting = QmpJson.object();
  private boolean connected;
  private long lastId;
  private volatile boolean closed;
  private volatile @Nullable MigrationException failure;
  private volatile @Nullable ChannelHandlerContext context;

  /**
   * Makes the protocol of a connection that is still to be made.
   *
   * @param ready gets the client when commands can be sent, or why they cannot
   */
  QmpSession(QmpSpec spec, Sinks.One<QmpClient> ready) {
    this.spec = spec;
    this.ready = ready;
    this.lines = new QmpLines(spec.maxLineBytes());
  }

  Flux<QmpEvent> events() {
    return events.asFlux();
  }

  /** {@return completes when the connection has ended, for whatever reason} */
  Mono<Void> ended() {
    return ended.asMono();
  }

  boolean isOpen() {
    return failure == null;
  }

  /** Sends a command for each subscription; an answer that nobody waits for is dropped. */
  Mono<JsonNode> execute(String name, Map<String, ?> arguments, long timeoutNanos) {
    return Mono.defer(
        () -> {
          PendingCommand command = new PendingCommand(name, arguments, timeoutNanos);
          onLoop(() -> send(command), () -> refuse(command));
          return command.answer.asMono();
        });
  }

  /** This side closes, which it may do before there is a connection. */
  void close() {
    closed = true;
    onLoop(() -> end(closedByUs()), () -> {});
  }

  private void onLoop(Runnable task, Runnable ifGone) {
    ChannelHandlerContext ctx = context;
    try {
      if (ctx == null) {
        ifGone.run();
      } else if (ctx.executor().inEventLoop()) {
        task.run();
      } else {
        ctx.executor().execute(task);
      }
    } catch (RejectedExecutionException e) {
      ifGone.run();
    }
  }

  @Override
  public void handlerAdded(ChannelHandlerContext ctx) {
    context = ctx;
    if (closed) { // before there was a loop to do it on
      end(closedByUs());
      return;
    }
    ctx.executor().schedule(this::greetingDue, spec.timeout().toNanos(), TimeUnit.NANOSECONDS);
    ctx.channel().closeFuture().addListener(closed -> closedByPeer());
  }

  @Override
  public void channelActive(ChannelHandlerContext ctx) {
    connected = true;
  }

  /** The connection could not be made. */
  void notConnected(Throwable cause) {
    end(QmpFailures.connecting(spec.address(), cause));
  }

  private void closedByPeer() {
    if (connected) { // Else it is told why it was not.
      end(
          MigrationException.of(
              Kind.TRANSPORT,
              "QEMU at %s closed the QMP connection%s"
                  .formatted(spec.address(), lines.isWithinLine() ? " within a message" : "")));
    }
  }

  private void greetingDue() {
    if (phase == Phase.GREETING || phase == Phase.NEGOTIATING) {
      end(QmpFailures.noGreeting(spec.address(), spec.timeout()));
    }
  }

  @Override
  public void channelRead(ChannelHandlerContext ctx, Object message) {
    try {
      if (phase != Phase.ENDED && !lines.take((ByteBuf) message, this::line)) {
        end(
            QmpFailures.protocol(
                spec.address(),
                "a message is longer than the %d bytes that are allowed"
                    .formatted(spec.maxLineBytes())));
      }
    } finally {
      ReferenceCountUtil.release(message);
    }
  }

  @Override
  public void exceptionCaught(ChannelHandlerContext ctx, Throwable cause) {
    end(
        MigrationException.of(
            Kind.TRANSPORT,
            "the QMP connection to %s was lost: %s".formatted(spec.address(), cause.getMessage()),
            cause));
  }

  private void line(String line) {
    if (phase == Phase.ENDED) {
      return; // What came in one read with what ended the session.
    }
    try {
      ObjectNode message = QmpJson.parse(line);
      if (message == null) {
        end(unexpected("a message is no JSON object", line));
      } else if (phase == Phase.GREETING) {
        greet(message, line);
      } else if (message.has("event")) {
        event(message, line);
      } else {
        answer(message, line);
      }
    } catch (JsonProcessingException e) {
      end(
          unexpected(
              "no JSON, " + QmpFailures.printable(e.getOriginalMessage()) + hint(line), line));
    }
  }

  private String hint(String line) {
    if (phase == Phase.GREETING && !line.startsWith("{")) {
      return " (a human monitor, perhaps, which is not -qmp and not mode=control)";
    }
    return line.strip().equals("{") ? " (pretty=on is not supported)" : "";
  }

  private void greet(ObjectNode message, String line) {
    if (!message.path("QMP").path("version").path("qemu").path("major").isInt()) {
      end(unexpected("no greeting with QEMU's version", line));
      return;
    }
    greeting = message;
    phase = Phase.NEGOTIATING;
    write(QmpJson.command("qmp_capabilities", Map.of(), lastId));
  }

  private void answer(ObjectNode message, String line) {
    JsonNode error = message.get("error");
    JsonNode result = message.get("return");
    if ((error == null) == (result == null)) {
      end(unexpected("neither greeting, event nor answer", line));
    } else if (error != null
        && !(error.path("class").isTextual() && error.path("desc").isTextual())) {
      end(unexpected("an error without class and desc", line));
    } else if (!message.path("id").isIntegralNumber() || !message.path("id").canConvertToLong()) {
      end(unexpected("an answer to no command of ours", line));
    } else {
      answer(message.path("id").longValue(), error, result, line);
    }
  }

  private void answer(long id, @Nullable JsonNode error, @Nullable JsonNode result, String line) {
    if (phase == Phase.NEGOTIATING) {
      if (id != 0 || result == null) {
        end(unexpected("it does not take qmp_capabilities", line));
      } else {
        phase = Phase.READY;
        ready.tryEmitValue(new QmpClient(spec, this, greeting));
      }
      return;
    }
    PendingCommand command = unanswered.remove(id);
    if (command == null) {
      end(unexpected("an answer to no command of ours", line));
    } else if (error != null) {
      command.fail(
          QmpFailures.refused(
              spec.address(),
              new QmpError(
                  command.name,
                  QmpFailures.printable(error.path("class").asText()),
                  QmpFailures.printable(error.path("desc").asText()))));
    } else if (result != null) {
      command.succeed(result);
    }
  }

  private void event(ObjectNode message, String line) {
    JsonNode data = message.path("data");
    JsonNode time = message.path("timestamp");
    if (!message.path("event").isTextual() || !(data.isMissingNode() || data.isObject())) {
      end(unexpected("an event without a name, or with data that is no object", line));
      return;
    }
    if (phase == Phase.READY) {
      events.tryEmitNext(
          new QmpEvent(
              message.path("event").asText(),
              data.isObject() ? data : QmpJson.object(),
              timestamp(time)));
    }
  }

  private static Instant timestamp(JsonNode time) {
    long seconds = time.path("seconds").asLong();
    long micros = time.path("microseconds").asLong();
    // QEMU writes -1 where its clock fails. More seconds than an int holds would not be a time.
    return seconds < 0 || seconds > Integer.MAX_VALUE * 2L || micros < 0 || micros >= 1_000_000
        ? Instant.EPOCH
        : Instant.ofEpochSecond(seconds, micros * 1000);
  }

  private void send(PendingCommand command) {
    if (phase != Phase.READY) {
      refuse(command);
      return;
    }
    if (unanswered.size() >= MAX_UNANSWERED) {
      command.fail(
          MigrationException.of(
              Kind.TIMEOUT,
              "%s was not sent: QEMU at %s has not answered the last %d commands"
                  .formatted(command.name, spec.address(), MAX_UNANSWERED)));
      return;
    }
    String text;
    try {
      text = QmpJson.command(command.name, command.arguments, lastId + 1);
    } catch (IllegalArgumentException e) {
      command.fail(e);
      return;
    }
    unanswered.put(++lastId, command);
    command.start();
    write(text);
  }

  private void refuse(PendingCommand command) {
    MigrationException why = failure;
    command.fail(gone(command.name, why == null ? closedByUs() : why));
  }

  private void write(String text) {
    ChannelHandlerContext ctx = context;
    if (ctx != null) {
      // A failure to write closes the channel, which tells all that waits.
      ctx.writeAndFlush(ByteBufUtil.writeUtf8(ctx.alloc(), text))
          .addListener(
              written -> {
                if (!written.isSuccess() && phase != Phase.ENDED) {
                  exceptionCaught(ctx, written.cause());
                }
              });
    }
  }

  private void end(MigrationException why) {
    if (phase == Phase.ENDED) {
      return;
    }
    phase = Phase.ENDED;
    failure = why;
    ready.tryEmitError(why);
    unanswered.values().forEach(command -> command.fail(gone(command.name, why)));
    unanswered.clear();
    if (why.kind() == Kind.CANCELLED) {
      events.tryEmitComplete();
    } else {
      events.tryEmitError(why);
    }
    ChannelHandlerContext ctx = context;
    if (ctx != null) {
      ctx.close();
    }
    ended.tryEmitEmpty();
  }

  private MigrationException closedByUs() {
    return MigrationException.of(
        Kind.CANCELLED, "the QMP connection to %s was closed here".formatted(spec.address()));
  }

  private MigrationException unexpected(String what, String line) {
    return QmpFailures.protocol(
        spec.address(), what + "; it sent \"" + QmpFailures.excerpt(line.strip()) + "\"");
  }

  private static MigrationException gone(String command, MigrationException why) {
    return MigrationException.of(
        why.kind(), "%s was not answered: %s".formatted(command, why.getMessage()), why);
  }

  /** A command on its way. When nobody waits for it any more, its answer is still to come. */
  private final class PendingCommand {

    final String name;
    final Map<String, ?> arguments;
    private final long timeoutNanos;
    final Sinks.One<JsonNode> answer = Sinks.one();
    private @Nullable Future<?> timer;

    PendingCommand(String name, Map<String, ?> arguments, long timeoutNanos) {
      this.name = name;
      this.arguments = arguments;
      this.timeoutNanos = timeoutNanos;
    }

    void start() {
      ChannelHandlerContext ctx = context;
      if (ctx != null) {
        timer =
            ctx.executor()
                .schedule(
                    () ->
                        answer.tryEmitError(
                            QmpFailures.noAnswer(
                                spec.address(), name, Duration.ofNanos(timeoutNanos))),
                    timeoutNanos,
                    TimeUnit.NANOSECONDS);
      }
    }

    void succeed(JsonNode result) {
      stopTimer();
      answer.tryEmitValue(result);
    }

    void fail(Throwable why) {
      stopTimer();
      answer.tryEmitError(why);
    }

    private void stopTimer() {
      if (timer != null) {
        timer.cancel(false);
      }
    }
  }
}
