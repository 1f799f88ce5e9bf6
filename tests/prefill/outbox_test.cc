#include <catch2/catch.hpp>

#include "proto/lynx.pb.h"
#include "proto/outbox_table.h"

namespace lynx {
namespace {

using Message = v1::PrefillToDecode;

Message Numbered(int number) {
  Message message;
  message.mutable_first_token()->mutable_token()->set_id(number);
  return message;
}

// A stream whose writes the test completes.
struct FakeWriter : OutboxWriter<Message> {
  void WriteMessage(const Message& message) override {
    written.push_back(message.first_token().token().id());
  }
  void EndStream(const absl::Status& status) override { ended.push_back(status); }
  void AbortCall() override { ++aborts; }

  std::vector<int> written;
  std::vector<absl::Status> ended;
  int aborts = 0;
};

TEST_CASE("outbox: one write at a time, in order, the end behind the last") {
  Outbox<Message> box(1 << 20);
  FakeWriter writer;
  CHECK(box.Push(Numbered(1)));
  CHECK(box.Push(Numbered(2)));
  CHECK(writer.written.empty());
  box.Attach(&writer);
  CHECK(writer.written == std::vector<int>{1});
  CHECK(box.Push(Numbered(3)));
  box.Close(absl::UnavailableError("why"));
  box.Close(absl::OkStatus());  // too late
  CHECK_FALSE(box.Push(Numbered(4)));
  box.Written(true);
  box.Written(true);
  CHECK(writer.written == std::vector<int>{1, 2, 3});
  CHECK(writer.ended.empty());
  box.Written(true);
  CHECK(writer.ended == std::vector<absl::Status>{absl::UnavailableError("why")});
  CHECK(writer.aborts == 0);
}

TEST_CASE("outbox: a reader that is too slow is cut off, and what was written frees room") {
  const size_t bytes = Numbered(1).ByteSizeLong() + sizeof(Message);
  Outbox<Message> box(2 * bytes);
  FakeWriter writer;
  box.Attach(&writer);
  CHECK(box.Push(Numbered(1)));
  CHECK(box.Push(Numbered(2)));
  box.Written(true);
  CHECK(box.Push(Numbered(3)));
  CHECK_FALSE(box.Push(Numbered(4)));
  CHECK(writer.aborts == 1);
  CHECK_FALSE(box.Push(Numbered(5)));
  CHECK(writer.aborts == 1);
  CHECK(writer.ended.empty());  // a write is still under way
  box.Close(absl::CancelledError("slow"));
  box.Written(false);
  CHECK(writer.written == std::vector<int>{1, 2});
  CHECK(writer.ended.size() == 1);
}

TEST_CASE("outbox: one that overflowed before its stream came aborts it then") {
  Outbox<Message> box(1);
  FakeWriter writer;
  CHECK(box.Push(Numbered(1)));  // one fits, whatever its size
  CHECK_FALSE(box.Push(Numbered(2)));
  box.Attach(&writer);
  CHECK(writer.aborts == 1);
  box.Close(absl::CancelledError("slow"));
  CHECK(writer.ended.size() == 1);
}

TEST_CASE("outbox: a broken stream ends as soon as the engine has closed it") {
  Outbox<Message> box(1 << 20);
  FakeWriter writer;
  box.Attach(&writer);
  CHECK(box.Push(Numbered(1)));
  CHECK(box.Push(Numbered(2)));
  box.Written(false);
  CHECK(writer.written == std::vector<int>{1});
  CHECK_FALSE(box.Push(Numbered(3)));
  CHECK(writer.ended.empty());
  box.Close(absl::OkStatus());
  CHECK(writer.ended.size() == 1);
}

TEST_CASE("outbox table: the engine may speak first, and end a request before its call knows it") {
  OutboxTable<int, Message> table(1 << 20);
  FakeWriter early, late;
  CHECK(table.Push(1, Numbered(11)));
  table.Close(1, absl::OkStatus());
  auto box = table.Take(1);
  box->Attach(&early);
  box->Written(true);
  CHECK(early.written == std::vector<int>{11});
  CHECK(early.ended == std::vector<absl::Status>{absl::OkStatus()});

  auto open = table.Take(2);
  FakeWriter writer;
  open->Attach(&writer);
  table.CloseAll(absl::UnavailableError("stop"));
  CHECK(writer.ended == std::vector<absl::Status>{absl::UnavailableError("stop")});
  table.Take(3)->Attach(&late);
  CHECK(late.ended == std::vector<absl::Status>{absl::UnavailableError("stop")});
}

}  // namespace
}  // namespace lynx
