// Predicts for texts with a bundle, in C#, by P/Invoke.
//
//     dotnet run -- runs/reviews-int8 "a fine film" "a dull film"
//
// or, with Mono, mcs Predict.cs && mono Predict.exe ... The system must find the library: libonelayer.so,
// libonelayer.dylib or onelayer.dll, for instance by LD_LIBRARY_PATH.
using System;
using System.Collections.Generic;
using System.Globalization;
using System.IO;
using System.Runtime.InteropServices;
using System.Text;
using Microsoft.Win32.SafeHandles;

/// <summary>A part of a text: text.Substring(Begin, End - Begin).</summary>
public sealed class Entity
{
    public Entity(int begin, int end, string type)
    {
        Begin = begin;
        End = end;
        Type = type;
    }

    public int Begin { get; }
    public int End { get; }
    public string Type { get; }
}

public sealed class Prediction
{
    public Prediction(string label, double probability, IReadOnlyList<Entity> entities)
    {
        Label = label;
        Probability = probability;
        Entities = entities;
    }

    /// <summary>Null for a tagger.</summary>
    public string Label { get; }
    public double Probability { get; }
    public IReadOnlyList<Entity> Entities { get; }
}

public sealed class OnelayerException : Exception
{
    public OnelayerException(string message) : base(message)
    {
    }
}

/// <summary>A bundle. Any number of threads may predict at once.</summary>
public sealed class Model : IDisposable
{
    private readonly Native.ModelHandle handle;

    /// <exception cref="OnelayerException">The bundle is missing or damaged.</exception>
    public Model(string path)
    {
        handle = Native.onelayer_open(Native.Utf8(path + '\0'), IntPtr.Zero);
        if (handle.IsInvalid)
            throw Native.Failure();
    }

    /// <exception cref="OnelayerException">The model has no use for a text.</exception>
    public IReadOnlyList<Prediction> Predict(IReadOnlyList<string> texts)
    {
        var pins = new List<GCHandle>(); // the library reads the texts where they are
        try
        {
            var inputs = new Native.Input[texts.Count];
            for (int i = 0; i < inputs.Length; i++)
            {
                byte[] text = Native.Utf8(texts[i]);
                pins.Add(GCHandle.Alloc(text, GCHandleType.Pinned));
                inputs[i].Text.Data = pins[i].AddrOfPinnedObject();
                inputs[i].Text.Size = (UIntPtr)text.Length;
            }
            using (var results = Native.onelayer_predict(handle, inputs, (UIntPtr)inputs.Length))
            {
                if (results.IsInvalid)
                    throw Native.Failure();
                var found = new Prediction[inputs.Length];
                for (int i = 0; i < found.Length; i++)
                    found[i] = Read(Native.onelayer_prediction_at(results, (UIntPtr)i));
                return found;
            }
        }
        finally
        {
            pins.ForEach(pin => pin.Free());
        }
    }

    public void Dispose() => handle.Dispose();

    private Prediction Read(IntPtr place)
    {
        var found = Marshal.PtrToStructure<Native.Prediction>(place);
        bool classified = found.Task == Native.Classify && found.Label >= 0;
        string label =
            classified ? Native.onelayer_label(handle, (UIntPtr)found.Label).ToString() : null;
        var entities = new Entity[(int)found.EntityCount];
        for (int i = 0; i < entities.Length; i++)
        {
            IntPtr at = found.Entities + i * Marshal.SizeOf<Native.Entity>();
            var entity = Marshal.PtrToStructure<Native.Entity>(at);
            // .NET's strings are UTF-16.
            entities[i] = new Entity((int)entity.Span.Utf16Begin, (int)entity.Span.Utf16End,
                                     entity.Type.ToString());
        }
        return new Prediction(label, found.Probability, entities);
    }
}

/// <summary>onelayer.h.</summary>
internal static class Native
{
    public const int Classify = 1;
    private const string Library = "onelayer";
    private const CallingConvention C = CallingConvention.Cdecl;

    [StructLayout(LayoutKind.Sequential)]
    public struct Text
    {
        public IntPtr Data;
        public UIntPtr Size;

        public override string ToString()
        {
            var bytes = new byte[(int)Size];
            if (bytes.Length > 0)
                Marshal.Copy(Data, bytes, 0, bytes.Length);
            return Encoding.UTF8.GetString(bytes);
        }
    }

    [StructLayout(LayoutKind.Sequential)]
    public struct Span
    {
        public UIntPtr ByteBegin, ByteEnd, PointBegin, PointEnd, Utf16Begin, Utf16End;
    }

    [StructLayout(LayoutKind.Sequential)]
    public struct Input
    {
        public Text Text, Pair, Question;
        public IntPtr Options;
        public UIntPtr OptionCount;
        public IntPtr Words;
        public UIntPtr WordCount;
        public Text Id;
    }

    [StructLayout(LayoutKind.Sequential)]
    public struct Entity
    {
        public Span Span;
        public Text Type;
        public double Score;
    }

    /// <summary>The first fields of onelayer_prediction.</summary>
    [StructLayout(LayoutKind.Sequential)]
    public struct Prediction
    {
        public int Task, Label;
        public double Probability;
        public IntPtr Probabilities;
        public UIntPtr ProbabilityCount;
        public IntPtr Labels;
        public UIntPtr LabelCount;
        public IntPtr LabelSet;
        public UIntPtr LabelSetCount;
        public double Value;
        public IntPtr Words;
        public UIntPtr WordCount;
        public IntPtr Entities;
        public UIntPtr EntityCount;
    }

    public sealed class ModelHandle : SafeHandleZeroOrMinusOneIsInvalid
    {
        public ModelHandle() : base(true)
        {
        }

        protected override bool ReleaseHandle()
        {
            onelayer_close(handle);
            return true;
        }
    }

    public sealed class ResultsHandle : SafeHandleZeroOrMinusOneIsInvalid
    {
        public ResultsHandle() : base(true)
        {
        }

        protected override bool ReleaseHandle()
        {
            onelayer_free(handle);
            return true;
        }
    }

    [DllImport(Library, CallingConvention = C)]
    public static extern ModelHandle onelayer_open(byte[] path, IntPtr options);

    [DllImport(Library, CallingConvention = C)]
    public static extern ResultsHandle onelayer_predict(ModelHandle model, [In] Input[] inputs, UIntPtr n);

    [DllImport(Library, CallingConvention = C)]
    public static extern IntPtr onelayer_prediction_at(ResultsHandle results, UIntPtr index);

    [DllImport(Library, CallingConvention = C)]
    public static extern Text onelayer_label(ModelHandle model, UIntPtr index);

    [DllImport(Library, CallingConvention = C)]
    private static extern IntPtr onelayer_error();

    [DllImport(Library, CallingConvention = C)]
    private static extern void onelayer_close(IntPtr model);

    [DllImport(Library, CallingConvention = C)]
    private static extern void onelayer_free(IntPtr results);

    public static byte[] Utf8(string text) => Encoding.UTF8.GetBytes(text);

    /// <summary>Why the last call of this thread failed.</summary>
    public static OnelayerException Failure()
    {
        IntPtr line = onelayer_error();
        int size = 0;
        while (Marshal.ReadByte(line, size) != 0)
            size++;
        return new OnelayerException(new Text { Data = line, Size = (UIntPtr)size }.ToString());
    }
}

public static class Program
{
    public static int Main(string[] arguments)
    {
        if (arguments.Length < 2)
        {
            Console.Error.WriteLine("usage: Predict BUNDLE TEXT...");
            return 2;
        }
        var texts = new ArraySegment<string>(arguments, 1, arguments.Length - 1);
        using (var standard = Console.OpenStandardOutput())
        using (var output = new StreamWriter(standard, new UTF8Encoding(false)))
        {
            try
            {
                using (var model = new Model(arguments[0]))
                {
                    IReadOnlyList<Prediction> found = model.Predict(texts);
                    for (int i = 0; i < found.Count; i++)
                        Write(output, arguments[i + 1], found[i]);
                }
            }
            catch (OnelayerException failure)
            {
                Console.Error.WriteLine(failure.Message);
                return 1;
            }
        }
        return 0;
    }

    private static void Write(TextWriter output, string text, Prediction found)
    {
        if (found.Label != null)
            output.WriteLine(string.Format(CultureInfo.InvariantCulture, "{0} {1:F4}", found.Label,
                                           found.Probability));
        foreach (Entity e in found.Entities)
            output.WriteLine($"{e.Begin}-{e.End} {e.Type} {text.Substring(e.Begin, e.End - e.Begin)}");
    }
}
